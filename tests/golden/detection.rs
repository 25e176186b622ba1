//! Detectors: labels, set losses, boxes.

use crate::training::{
    close, every_gradient_matches_the_reference, frozen_parameters_match_the_reference,
    losses_of_five_optimizer_steps_match_the_reference,
};
use crate::{OUTPUT, for_each_case};
use cvhost_plugin_api::data::{Fields, Meta, Mode};
use cvhost_tests::golden::{Case, device, difference};
use cvhost_torch::batch::to_batch;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tch::{Tensor, no_grad};

/// Tolerance for box coordinates, in pixels of the image.
const PIXELS: f64 = 0.02;

for_each_case!(
    [detr, yolos],
    [
        processed_pixels_and_labels_match_the_reference,
        outputs_and_losses_match_the_reference,
        every_gradient_matches_the_reference,
        losses_of_five_optimizer_steps_match_the_reference,
        predictions_of_the_batch_match_the_reference,
        predictions_of_single_images_match_the_reference,
        frozen_parameters_match_the_reference,
        a_mixed_batch_predicts_the_same_as_single_images,
    ]
);

fn processed_pixels_and_labels_match_the_reference(name: &str) {
    let case = Case::open(name);
    let mut host_batch = case.batch(case.records());
    let batch = to_batch(&mut host_batch, device()).unwrap();
    let reference = case.tensor("input.pixel_values");
    let pixels = batch.tensor("pixel_values").unwrap();
    let off = difference(&pixels, reference);
    assert!(off <= OUTPUT, "pixel_values are {off} off");
    if batch.has("pixel_mask") {
        assert_eq!(
            batch.tensor("pixel_mask").unwrap(),
            *case.tensor("input.pixel_mask")
        );
    }
    let (boxes, counts) = batch.ragged("boxes").unwrap();
    let (labels, _) = batch.ragged("class_labels").unwrap();
    let canvas = reference.size();
    let mut start = 0;
    for (i, count) in counts.iter().enumerate() {
        let meta = &host_batch.metas[i];
        // Ours are relative to the image, the reference's to the padded canvas.
        let x = f64::from(meta.input_width) / canvas[3] as f64;
        let y = f64::from(meta.input_height) / canvas[2] as f64;
        let ours = boxes.narrow(0, start, *count) * Tensor::from_slice(&[x, y, x, y]).to_device(device());
        let off = difference(&ours, case.tensor(&format!("labels.{i}.boxes")));
        assert!(off <= 1e-6, "boxes of image {i} are {off} off");
        assert_eq!(
            labels.narrow(0, start, *count),
            *case.tensor(&format!("labels.{i}.class_labels"))
        );
        start += count;
    }
}

/// Uses training mode, where padded batches are handled as in the reference; the case has no
/// dropout, so evaluation and training agree.
fn outputs_and_losses_match_the_reference(name: &str) {
    let mut case = Case::open(name);
    let batch = case.reference_batch();
    let forward = case.forward(&batch, Mode::TRAIN);
    let loss = forward.loss.unwrap().double_value(&[]);
    for key in ["eval", "train"] {
        close(loss, &case.json[format!("{key}_loss")], "loss");
        let reference = case.json[format!("{key}_loss_dict")].as_object().unwrap();
        for (part, value) in reference {
            let (_, ours) = forward
                .parts
                .iter()
                .find(|(n, _)| n == part)
                .unwrap_or_else(|| panic!("no {part}"));
            close(ours.double_value(&[]), value, part);
        }
        assert_eq!(forward.parts.len(), reference.len());
    }
    for (key, reference) in case.tensors.iter().filter(|(k, _)| k.starts_with("output.")) {
        let key = key.trim_start_matches("output.");
        let ours = forward
            .outputs
            .iter()
            .find(|o| o.name == key)
            .unwrap_or_else(|| panic!("no {key}"));
        let ours = ours.tensor.tensor();
        // A vision transformer's last hidden state has the patches before the detection tokens; we
        // keep only the latter.
        let queries = ours.size()[1];
        let off = difference(
            &ours,
            &reference.narrow(1, reference.size()[1] - queries, queries),
        );
        assert!(off <= OUTPUT, "{key} is {off} off");
    }
}

fn predictions_of_the_batch_match_the_reference(name: &str) {
    let mut case = Case::open(name);
    let batch = case.reference_batch();
    let metas = batch.metas.to_vec();
    let forward = no_grad(|| case.forward(&batch, Mode::TRAIN));
    let ours = case
        .network
        .finish(&forward.outputs, &metas, &json!({"threshold": 0.0}))
        .unwrap();
    compare_predictions(&ours, &case.json["post"]);
}

fn predictions_of_single_images_match_the_reference(name: &str) {
    let mut case = Case::open(name);
    for i in 0..case.images.len() {
        let ours = predict(&mut case, &[i]);
        compare_predictions(&ours, &json!([case.json["post_single"][i]]));
    }
}

/// Predicts some of the case's images in one batch, as the host does.
fn predict(case: &mut Case, which: &[usize]) -> Vec<Fields> {
    let mut records = case.records();
    let records = which.iter().map(|i| std::mem::take(&mut records[*i])).collect();
    let mut host_batch = case.batch(records);
    let batch = to_batch(&mut host_batch, device()).unwrap();
    let metas: Vec<Meta> = host_batch.metas.clone();
    let forward = no_grad(|| case.forward(&batch, Mode::PREDICT));
    case.network
        .finish(&forward.outputs, &metas, &json!({"threshold": 0.0}))
        .unwrap()
}

fn compare_predictions(ours: &[Fields], reference: &Value) {
    let reference = reference.as_array().unwrap();
    assert_eq!(ours.len(), reference.len());
    for (ours, reference) in ours.iter().zip(reference) {
        let numbers = |key: &str| -> Vec<f64> {
            reference[key]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_f64().unwrap())
                .collect()
        };
        let scores = ours.require("scores").unwrap().to_f64().unwrap();
        for (ours, reference) in scores.iter().zip(numbers("scores")) {
            assert!(
                (ours - reference).abs() <= OUTPUT * 2.0,
                "score {ours}, the reference has {reference}"
            );
        }
        assert_eq!(scores.len(), numbers("scores").len());
        assert_eq!(
            ours.require("class_labels").unwrap().to_f64().unwrap(),
            numbers("labels")
        );
        let boxes = ours.require("boxes").unwrap().to_rows::<4>().unwrap();
        for (ours, reference) in boxes.iter().zip(reference["boxes"].as_array().unwrap()) {
            for (k, value) in ours.iter().enumerate() {
                let expected = reference[k].as_f64().unwrap();
                assert!(
                    (value - expected).abs() <= PIXELS,
                    "box {ours:?}, the reference has {reference}"
                );
            }
        }
    }
}

fn a_mixed_batch_predicts_the_same_as_single_images(name: &str) {
    let mut case = Case::open(name);
    let together = predict(&mut case, &[0, 1]);
    let input_sizes: BTreeSet<(u32, u32)> = case.images.iter().map(|p| (p.width, p.height)).collect();
    assert!(input_sizes.len() > 1, "the case's images should differ in size");
    for (i, batched) in together.iter().enumerate() {
        let alone = predict(&mut case, &[i]).remove(0);
        let rows = |f: &Fields| f.require("boxes").unwrap().to_rows::<4>().unwrap();
        for (a, b) in rows(batched).iter().zip(rows(&alone)) {
            let off = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off <= 1.0, "image {i}: {a:?} in the batch, {b:?} alone");
        }
    }
}

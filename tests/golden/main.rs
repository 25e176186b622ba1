//! Adapters against what transformers computes, through the built cdylib and the host's loader.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

use cvhost_engine::checkpoint::ModelFolder;
use cvhost_engine::session::checkpoint_spec;
use cvhost_engine::train::optimizer::{GroupRules, Optimizer};
use cvhost_plugin_api::data::{Fields, Meta, Mode, Parameter, Tags, TensorHandle};
use cvhost_tests::fixture;
use cvhost_tests::golden::{Case, difference, network};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tch::{Kind, Tensor, no_grad};

/// Outputs and pixels: largest difference over 1 + the largest reference value.
const OUTPUT: f64 = 2e-4;
/// Losses and parts, relative.
const LOSS: f64 = 1e-4;
/// A gradient's ‖difference‖ / ‖reference‖.
const GRADIENT: f64 = 5e-3;
/// Boxes, in pixels of the picture.
const PIXELS: f64 = 0.02;

macro_rules! for_each_case {
    ($($check:ident),* $(,)?) => {
        mod detr { $(#[test] fn $check() { super::$check("detr"); })* }
        mod yolos { $(#[test] fn $check() { super::$check("yolos"); })* }
    };
}

for_each_case!(
    processed_pixels_and_labels_are_the_references,
    outputs_and_losses_are_the_references,
    every_gradient_is_the_references,
    five_optimizer_steps_lose_as_the_reference,
    predictions_of_the_batch_are_the_references,
    predictions_of_single_pictures_are_the_references,
    what_the_reference_freezes_is_frozen,
    a_mixed_batch_predicts_as_single_pictures_do,
);

fn processed_pixels_and_labels_are_the_references(name: &str) {
    let case = Case::open(name);
    let host_batch = case.batch(case.records());
    let batch = host_batch.to_batch(tch::Device::Cpu).unwrap();
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
        // Ours are relative to the picture, the reference's to the padded canvas.
        let x = f64::from(meta.input_width) / canvas[3] as f64;
        let y = f64::from(meta.input_height) / canvas[2] as f64;
        let ours = boxes.narrow(0, start, *count) * Tensor::from_slice(&[x, y, x, y]);
        let off = difference(&ours, case.tensor(&format!("labels.{i}.boxes")));
        assert!(off <= 1e-6, "boxes of picture {i} are {off} off");
        assert_eq!(
            labels.narrow(0, start, *count),
            *case.tensor(&format!("labels.{i}.class_labels"))
        );
        start += count;
    }
}

/// In training mode, where a padded batch runs as the reference's does; the case has no dropout, so its evaluation and
/// training agree.
fn outputs_and_losses_are_the_references(name: &str) {
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
        // A vision transformer's last state has patches before the detection tokens, which are what we keep.
        let queries = ours.size()[1];
        let off = difference(
            &ours,
            &reference.narrow(1, reference.size()[1] - queries, queries),
        );
        assert!(off <= OUTPUT, "{key} is {off} off");
    }
}

fn close(ours: f64, reference: &Value, what: &str) {
    let reference = reference.as_f64().unwrap();
    assert!(
        (ours - reference).abs() <= LOSS * reference.abs().max(1e-3),
        "{what}: {ours}, the reference has {reference}"
    );
}

fn every_gradient_is_the_references(name: &str) {
    let mut case = Case::open(name);
    let batch = case.reference_batch();
    case.forward(&batch, Mode::TRAIN).loss.unwrap().backward();
    let norm = |t: &Tensor| t.to_kind(Kind::Double).norm().double_value(&[]);
    let references: Vec<(&str, &Tensor)> = case
        .tensors
        .iter()
        .filter_map(|(k, t)| Some((k.strip_prefix("grad.")?, t)))
        .collect();
    let largest = references.iter().map(|(_, t)| norm(t)).fold(0.0, f64::max);
    let mut compared = 0;
    for (key, reference) in references {
        let parameter = case
            .network
            .parameters()
            .iter()
            .find(|p| p.name == key)
            .unwrap_or_else(|| panic!("no {key}"));
        if parameter.tags.has(Tags::BUFFER) {
            // A frozen norm's weight: a buffer, which the reference's file has as it is, ones.
            assert!(
                reference.eq_tensor(&reference.ones_like()).all().int64_value(&[]) == 1,
                "{key} has a gradient"
            );
            continue;
        }
        if norm(reference) <= 1e-4 * largest {
            continue;
        }
        let ours = parameter.tensor.tensor().grad();
        assert!(ours.defined(), "{key} has no gradient");
        let off = norm(&(ours - reference)) / norm(reference);
        assert!(off <= GRADIENT, "the gradient of {key} is {off} off");
        compared += 1;
    }
    assert!(compared > 40, "only {compared} gradients were compared");
}

fn five_optimizer_steps_lose_as_the_reference(name: &str) {
    let mut case = Case::open(name);
    let batch = case.reference_batch();
    // The reference decays every parameter, so the tags that make groups go.
    let plain: Vec<Parameter> = case.network.parameters().iter().map(untagged).collect();
    let rules = GroupRules {
        weight_decay: 1e-2,
        backbone_lr_scale: 1.0,
        freeze: vec![],
    };
    let mut optimizer = Optimizer::new(&plain, &rules).unwrap();
    let reference = case.json["adamw_lr1e-3_wd1e-2_losses"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(reference.len(), 5);
    for (i, value) in reference.iter().enumerate() {
        let loss = case.forward(&batch, Mode::TRAIN).loss.unwrap();
        close(loss.double_value(&[]), value, &format!("loss of step {i}"));
        loss.backward();
        optimizer.step(1e-3).unwrap();
        optimizer.clear_gradients().unwrap();
    }
}

fn untagged(parameter: &Parameter) -> Parameter {
    let tags = if parameter.tags.has(Tags::BUFFER) {
        Tags::BUFFER
    } else {
        Tags::NONE
    };
    Parameter {
        name: parameter.name.clone(),
        aliases: parameter.aliases.clone(),
        tensor: TensorHandle::new(parameter.tensor.tensor()),
        tags,
        depth: parameter.depth,
    }
}

fn predictions_of_the_batch_are_the_references(name: &str) {
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

fn predictions_of_single_pictures_are_the_references(name: &str) {
    let mut case = Case::open(name);
    for i in 0..case.pictures.len() {
        let ours = predict(&mut case, &[i]);
        compare_predictions(&ours, &json!([case.json["post_single"][i]]));
    }
}

/// Predicts some of the case's pictures in one batch, as the host does.
fn predict(case: &mut Case, which: &[usize]) -> Vec<Fields> {
    let mut records = case.records();
    let records = which.iter().map(|i| std::mem::take(&mut records[*i])).collect();
    let host_batch = case.batch(records);
    let batch = host_batch.to_batch(tch::Device::Cpu).unwrap();
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

fn a_mixed_batch_predicts_as_single_pictures_do(name: &str) {
    let mut case = Case::open(name);
    let together = predict(&mut case, &[0, 1]);
    let input_sizes: BTreeSet<(u32, u32)> = case.pictures.iter().map(|p| (p.width, p.height)).collect();
    assert!(input_sizes.len() > 1, "the case's pictures should differ in size");
    for (i, batched) in together.iter().enumerate() {
        let alone = predict(&mut case, &[i]).remove(0);
        let rows = |f: &Fields| f.require("boxes").unwrap().to_rows::<4>().unwrap();
        for (a, b) in rows(batched).iter().zip(rows(&alone)) {
            let off = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off <= 1.0, "picture {i}: {a:?} in the batch, {b:?} alone");
        }
    }
}

fn what_the_reference_freezes_is_frozen(name: &str) {
    let case = Case::open(name);
    let frozen: BTreeSet<&str> = case.json["frozen"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect();
    let trainable: BTreeSet<&str> = case.json["trainable"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect();
    for parameter in case.network.parameters() {
        let name = parameter.name.as_str();
        let trained = !parameter.tags.has(Tags::BUFFER) && parameter.tensor.tensor().requires_grad();
        if trained {
            assert!(
                trainable.contains(name) && !frozen.contains(name),
                "{name} is trained"
            );
        } else {
            // Buffers of frozen norms that hold ones stand among the reference's trainable ones.
            let buffer = parameter.tags.has(Tags::BUFFER);
            assert!(frozen.contains(name) || buffer, "{name} is frozen");
        }
    }
    for name in trainable.iter().filter(|n| !n.contains("normalization.")) {
        assert!(
            case.network.parameters().iter().any(|p| p.name == **name),
            "no parameter {name}"
        );
    }
}

#[test]
fn well_known_checkpoints_map_without_a_missing_or_unexpected_tensor() {
    for name in [
        "facebook--detr-resnet-50",
        "hustvl--yolos-tiny",
        "hustvl--yolos-small",
    ] {
        let text = std::fs::read_to_string(fixture(&format!("names/{name}.json"))).unwrap();
        let mut listing: Value = serde_json::from_str(&text).unwrap();
        let labels: serde_json::Map<String, Value> = (0..91)
            .map(|i| (i.to_string(), json!(format!("LABEL_{i}"))))
            .collect();
        listing["config"]["id2label"] = Value::Object(labels);
        listing["config"]["num_labels"] = json!(91);
        let mut folder = ModelFolder::open(&fixture("golden/detr")).unwrap();
        folder.config = listing["config"].clone();
        let spec = checkpoint_spec("detection/1", &folder).unwrap();
        assert_eq!(spec.names.len(), 91);
        let network = network(&listing["config"], &spec);
        let mut left: BTreeSet<String> = listing["tensors"].as_object().unwrap().keys().cloned().collect();
        for parameter in network.parameters() {
            let names = std::iter::once(&parameter.name).chain(&parameter.aliases);
            let found = names.map(ToString::to_string).find(|n| left.remove(n));
            let found =
                found.unwrap_or_else(|| panic!("{name}: `{}` is missing in the file", parameter.name));
            let shape: Vec<i64> = serde_json::from_value(listing["tensors"][&found][1].clone()).unwrap();
            assert_eq!(parameter.tensor.tensor().size(), shape, "{name}: {found}");
            assert_eq!(
                parameter.name, found,
                "{name}: saved under another name than it was read"
            );
        }
        assert!(left.is_empty(), "{name}: unexpected {left:?}");
    }
}

//! Classifiers: logits, losses in both modes, scores.

use crate::training::{
    close, every_gradient_matches_the_reference, frozen_parameters_match_the_reference,
    losses_of_five_optimizer_steps_match_the_reference,
};
use crate::{OUTPUT, for_each_case};
use cvhost_plugin_api::data::Mode;
use cvhost_tests::golden::{Case, device, difference};
use cvhost_torch::batch::to_batch;
use serde_json::json;
use tch::{Kind, Tensor, no_grad};

for_each_case!(
    [resnet, vit],
    [
        processed_pixels_and_labels_match_the_reference,
        logits_and_losses_match_the_reference,
        every_gradient_matches_the_reference,
        losses_of_five_optimizer_steps_match_the_reference,
        scores_of_images_match_the_reference,
        frozen_parameters_match_the_reference,
    ]
);

fn processed_pixels_and_labels_match_the_reference(name: &str) {
    let case = Case::open(name);
    let batch = to_batch(&mut case.batch(case.records()), device()).unwrap();
    let off = difference(
        &batch.tensor("pixel_values").unwrap(),
        case.tensor("input.pixel_values"),
    );
    assert!(off <= OUTPUT, "pixel_values are {off} off");
    let labels = batch.tensor("class_distribution").unwrap();
    assert_eq!(labels.argmax(-1, false), *case.tensor("labels"));
    assert_eq!(labels.sum(Kind::Float).double_value(&[]), 2.0);
}

/// Norms use running statistics in evaluation and batch statistics in training, hence two losses.
fn logits_and_losses_match_the_reference(name: &str) {
    let mut case = Case::open(name);
    let batch = case.reference_batch();
    let evaluated = no_grad(|| case.forward(&batch, Mode::EVAL));
    let off = difference(
        &evaluated.outputs[0].tensor.tensor(),
        case.tensor("output.logits"),
    );
    assert!(off <= OUTPUT, "logits are {off} off");
    let loss = evaluated.loss.unwrap().double_value(&[]);
    close(loss, &case.json["eval_loss"], "loss in evaluation");
    let trained = case.forward(&batch, Mode::TRAIN).loss.unwrap();
    close(
        trained.double_value(&[]),
        &case.json["train_loss"],
        "loss in training",
    );
}

fn scores_of_images_match_the_reference(name: &str) {
    let mut case = Case::open(name);
    let mut host_batch = case.batch(case.records());
    let batch = to_batch(&mut host_batch, device()).unwrap();
    let forward = no_grad(|| case.forward(&batch, Mode::PREDICT));
    let predictions = case
        .network
        .finish(&forward.outputs, &host_batch.metas, &json!({}))
        .unwrap();
    let reference = case.tensor("output.logits").softmax(-1, Kind::Float);
    for (i, prediction) in predictions.iter().enumerate() {
        let scores = prediction
            .require("class_scores")
            .unwrap()
            .values::<f32>()
            .unwrap();
        let off = difference(
            &Tensor::from_slice(scores).to_device(device()),
            &reference.get(i as i64),
        );
        assert!(off <= OUTPUT, "scores of image {i} are {off} off");
    }
}

//! Training checks that are independent of the task.

use crate::{GRADIENT, LOSS};
use cvhost::config::TrainingConfig;
use cvhost_plugin_api::data::{Mode, Parameter, Tags, TensorHandle};
use cvhost_tests::golden::Case;
use cvhost_train::optimizer::{GroupRules, Optimizer};
use serde_json::Value;
use std::collections::BTreeSet;
use tch::{Kind, Tensor};

/// Asserts that a loss is within its tolerance.
pub fn close(ours: f64, reference: &Value, what: &str) {
    close_within(LOSS, ours, reference, what);
}

fn close_within(tolerance: f64, ours: f64, reference: &Value, what: &str) {
    let reference = reference.as_f64().unwrap();
    assert!(
        (ours - reference).abs() <= tolerance * reference.abs().max(1e-3),
        "{what}: {ours}, the reference has {reference}"
    );
}

pub fn every_gradient_matches_the_reference(name: &str) {
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
            // A frozen norm's weight is a buffer, whose value (ones) the reference file has in
            // place of a gradient.
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

/// The tolerance for later steps. ViT's reference differs by 3e-4 from the same program's result in
/// float64: AdamW turns gradients that are only rounding errors into full steps, and their
/// direction depends on the processor.
fn later_step_tolerance(name: &str) -> f64 {
    if name == "vit" { 5e-4 } else { LOSS }
}

pub fn losses_of_five_optimizer_steps_match_the_reference(name: &str) {
    let mut case = Case::open(name);
    let batch = case.reference_batch();
    // The reference applies weight decay to every parameter, so the tags that form groups are
    // removed.
    let plain: Vec<Parameter> = case.network.parameters().iter().map(untagged).collect();
    let rules = GroupRules {
        weight_decay: 1e-2,
        backbone_lr_scale: 1.0,
        ..GroupRules::new(&TrainingConfig::default())
    };
    let mut optimizer = Optimizer::new(&plain, &rules).unwrap();
    let reference = case.json["adamw_lr1e-3_wd1e-2_losses"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(reference.len(), 5);
    for (i, value) in reference.iter().enumerate() {
        let loss = case.forward(&batch, Mode::TRAIN).loss.unwrap();
        let tolerance = if i == 0 { LOSS } else { later_step_tolerance(name) };
        close_within(
            tolerance,
            loss.double_value(&[]),
            value,
            &format!("loss of step {i}"),
        );
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
        extra: Default::default(),
    }
}

pub fn frozen_parameters_match_the_reference(name: &str) {
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
            // The reference lists buffers of frozen norms that hold ones as trainable.
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

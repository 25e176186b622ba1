//! Expected values are from torch's `cross_entropy` and `binary_cross_entropy_with_logits` for the
//! same logits and targets.

use crate::testing::{close, spec, waves};
use crate::{Criterion, Labels, scores};
use cvhost_plugin_api::error::ErrorKind;
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

fn labels(extra: &str) -> Labels {
    Labels::new(&spec(4, extra), &json!({})).unwrap()
}

fn criterion(model: Value, extra: &str) -> Criterion {
    Criterion::from_config(&json!({"model": model}), &labels(extra)).unwrap()
}

/// Three images, four classes.
fn logits() -> Tensor {
    waves(&[3, 4], 1.3) * 2.0
}

fn hard() -> Tensor {
    Tensor::from_slice(&[2i64, 0, 3]).one_hot(4).to_kind(Kind::Float)
}

fn loss(criterion: &Criterion, targets: &Tensor) -> f64 {
    let normaliser = criterion.normaliser(targets).unwrap();
    criterion
        .loss(&logits(), targets, normaliser)
        .unwrap()
        .double_value(&[])
}

const WEIGHTS: [f64; 4] = [0.5, 1.0, 2.0, 3.0];

#[test]
fn exclusive_labels_use_torchs_cross_entropy() {
    for (model, expected) in [
        (json!({}), 1.94779253),
        (json!({"class_weights": WEIGHTS}), 1.04817927),
        (json!({"label_smoothing": 0.1}), 1.96808493),
        (
            json!({"class_weights": WEIGHTS, "label_smoothing": 0.1}),
            1.10453868,
        ),
    ] {
        let loss = loss(&criterion(model.clone(), ""), &hard());
        assert!((loss - expected).abs() < 1e-6, "{model}: {loss}");
    }
}

#[test]
fn the_gradient_matches_torch() {
    let criterion = criterion(json!({"class_weights": WEIGHTS, "label_smoothing": 0.1}), "");
    let logits = logits().set_requires_grad(true);
    let normaliser = criterion.normaliser(&hard()).unwrap();
    criterion.loss(&logits, &hard(), normaliser).unwrap().backward();
    let expected = [0.03038422, 0.21979709, -0.24479756, -0.00538379];
    assert!(close(&logits.grad().get(0), &expected));
}

#[test]
fn mixed_images_use_soft_targets() {
    let mixed = Tensor::from_slice(&[0.7f32, 0.3, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.25, 0.25, 0.5])
        .reshape([3, 4]);
    let plain = loss(&criterion(json!({}), ""), &mixed);
    assert!((plain - 1.75225890).abs() < 1e-6, "{plain}");
    let smooth = loss(&criterion(json!({"label_smoothing": 0.2}), ""), &mixed);
    assert!((smooth - 1.83195031).abs() < 1e-6, "{smooth}");
}

#[test]
fn multiple_labels_use_torchs_binary_cross_entropy() {
    let targets =
        Tensor::from_slice(&[1f32, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0]).reshape([3, 4]);
    let extra = r#"{"multi_label": true}"#;
    for (model, expected) in [
        (json!({}), 1.03690207),
        (json!({"class_weights": WEIGHTS}), 1.46384478),
        (json!({"label_smoothing": 0.1}), 1.02496207),
    ] {
        let loss = loss(&criterion(model.clone(), extra), &targets);
        assert!((loss - expected).abs() < 1e-6, "{model}: {loss}");
    }
}

#[test]
fn split_batches_add_up_with_the_summed_normaliser() {
    let criterion = criterion(json!({"class_weights": WEIGHTS, "label_smoothing": 0.1}), "");
    let whole = loss(&criterion, &hard());
    let part = |i: i64| (logits().narrow(0, i, 1), hard().narrow(0, i, 1));
    let normaliser: f64 = (0..3).map(|i| criterion.normaliser(&part(i).1).unwrap()).sum();
    assert!((normaliser - 5.5).abs() < 1e-9);
    let sum: f64 = (0..3)
        .map(|i| {
            let (logits, targets) = part(i);
            criterion
                .loss(&logits, &targets, normaliser)
                .unwrap()
                .double_value(&[])
        })
        .sum();
    assert!((sum - whole).abs() < 1e-6, "{sum} {whole}");
}

#[test]
fn targets_of_another_class_count_are_an_error() {
    let error = criterion(json!({}), "")
        .loss(&logits(), &hard().narrow(1, 0, 3), 3.0)
        .unwrap_err();
    assert!(
        error.message.contains("logits [3, 4] for targets [3, 3]"),
        "{error}"
    );
}

#[test]
fn balanced_weights_match_scikit_learn() {
    let weights = |extra: &str| criterion(json!({"class_weights": "balanced"}), extra).weights;
    let known = weights(r#"{"class_counts": [10, 20, 5, 65]}"#);
    known.allow_training().unwrap();
    assert_eq!(known.get().unwrap(), [2.5, 1.25, 5.0, 100.0 / (4.0 * 65.0)]);

    let unknown = weights("").allow_training().unwrap_err();
    assert_eq!(
        (unknown.kind, unknown.key.as_str()),
        (ErrorKind::CONFIG, "model.class_weights")
    );
    let empty = weights(r#"{"class_counts": [10, 0, 5, 0]}"#);
    let error = empty.allow_training().unwrap_err();
    assert!(
        error.message.contains("no image has the class class 1, class 3"),
        "{error}"
    );
    // A split that lacks a class can still be evaluated.
    assert_eq!(empty.get().unwrap()[1], 0.0);
}

#[test]
fn classes_omitted_from_named_weights_weigh_one() {
    let criterion = criterion(json!({"class_weights": {"class 2": 4, "class 0": 0.5}}), "");
    assert_eq!(criterion.weights.get().unwrap(), [0.5, 1.0, 4.0, 1.0]);
}

#[test]
fn invalid_options_name_the_key_and_the_expected_value() {
    for (model, key, part) in [
        (
            json!({"class_weights": [1, 2, 3]}),
            "model.class_weights",
            "expected 4 numbers, one for each of class 0, class 1, class 2, class 3; got 3",
        ),
        (
            json!({"class_weights": [1, 2, 0, 3]}),
            "model.class_weights",
            "a number above 0 for the class class 2, got 0",
        ),
        (
            json!({"class_weights": {"cat": 1}}),
            "model.class_weights",
            "unknown class cat; the classes are class 0",
        ),
        (
            json!({"class_weights": "inverse"}),
            "model.class_weights",
            "expected `balanced`, a list",
        ),
        (
            json!({"label_smoothing": 1.5}),
            "model.label_smoothing",
            "a number from 0 to 1, got 1.5",
        ),
    ] {
        let error = Criterion::from_config(&json!({"model": model}), &labels("")).unwrap_err();
        assert_eq!(error.key.as_str(), key, "{model}");
        assert!(error.message.contains(part), "{model}: {error}");
    }
}

#[test]
fn the_data_set_takes_precedence_over_the_checkpoint_for_multi_label() {
    let multi =
        |extra: &str, checkpoint: Value| Labels::new(&spec(4, extra), &checkpoint).map(|l| l.multi_label);
    let trained_multi = || json!({"problem_type": "multi_label_classification"});
    assert!(!multi("", json!({})).unwrap());
    assert!(multi("", trained_multi()).unwrap());
    assert!(!multi(r#"{"multi_label": false}"#, trained_multi()).unwrap());
    assert!(multi(r#"{"multi_label": true}"#, json!({"problem_type": null})).unwrap());
    let error = multi("", json!({"problem_type": "regression"})).unwrap_err();
    assert!(error.message.contains("problem_type \"regression\""), "{error}");

    let mut saved = Map::new();
    labels(r#"{"multi_label": true}"#).write(&mut saved);
    assert_eq!(saved["problem_type"], "multi_label_classification");
}

#[test]
fn a_single_class_requires_multi_label() {
    assert!(Labels::new(&spec(1, ""), &json!({})).is_err());
    assert!(Labels::new(&spec(1, r#"{"multi_label": true}"#), &json!({})).is_ok());
    assert!(Labels::new(&spec(0, r#"{"multi_label": true}"#), &json!({})).is_err());
}

#[test]
fn a_malformed_extra_is_an_error() {
    for extra in [
        "{",
        r#"{"multi_label": "yes"}"#,
        r#"{"class_counts": [1, 2]}"#,
        r#"{"class_counts": [1, 2, 3, -4]}"#,
    ] {
        assert!(Labels::new(&spec(4, extra), &json!({})).is_err(), "{extra}");
    }
}

#[test]
fn scores_are_softmax_or_sigmoid_values() {
    let values = |multi_label| {
        let fields = scores(&logits(), multi_label).unwrap();
        assert_eq!(fields.len(), 3);
        fields[1]
            .require("class_scores")
            .unwrap()
            .values::<f32>()
            .unwrap()
            .to_vec()
    };
    let exclusive = values(false);
    assert!((exclusive.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    let expected = logits().get(1).sigmoid();
    assert!(close(
        &Tensor::from_slice(&values(true)),
        &Vec::<f64>::try_from(expected.to_kind(Kind::Double)).unwrap()
    ));
}

use crate::tests::{boxes, criterion, numbers, slice_all, spec};
use crate::{AuxiliaryLoss, LossSettings, Predictions, SetCriterion, Targets};
use serde_json::{Value, json};
use tch::Tensor;

/// Recorded from transformers' `ImageLoss` on the same numbers with `empty_weight` 0.5, 1, 4 and
/// 0.1: torch's `cross_entropy` with `weight`, divided by the sum of the weights.
#[test]
fn class_weights_act_as_in_torch() {
    const LOSS: f64 = 0.69766765832901;
    const GRADIENT: [f32; 24] = [
        -0.02525474,
        0.00911653,
        0.00500326,
        0.01113496,
        0.02815864,
        -0.0690914,
        0.02547899,
        0.01545379,
        0.00380284,
        0.00230654,
        0.00420278,
        -0.01031216,
        0.00241317,
        0.00724955,
        0.00397864,
        -0.01364136,
        0.16221602,
        0.1467791,
        -0.3629922,
        0.05399702,
        0.00368687,
        0.00407462,
        0.00450315,
        -0.01226463,
    ];
    let logits: [f32; 24] = [
        2.0, 0.1, -0.5, 0.3, 0.2, 1.5, 0.1, -0.4, 0.3, -0.2, 0.4, 0.9, -0.3, 0.8, 0.2, 0.1, 0.5, 0.4, 1.2,
        -0.6, 0.1, 0.2, 0.3, 0.4,
    ];
    let boxes: [f32; 24] = [
        0.2, 0.2, 0.2, 0.2, 0.7, 0.7, 0.2, 0.3, 0.5, 0.5, 0.9, 0.9, 0.3, 0.6, 0.2, 0.2, 0.8, 0.3, 0.3, 0.2,
        0.5, 0.5, 0.1, 0.1,
    ];
    let target_boxes: [f32; 12] = [0.21, 0.2, 0.2, 0.25, 0.7, 0.68, 0.2, 0.3, 0.8, 0.32, 0.3, 0.25];
    let targets = Targets::new(
        Tensor::from_slice(&[0i64, 1, 2]),
        Tensor::from_slice(&target_boxes).reshape([3, 4]),
        vec![2, 1],
    )
    .unwrap();
    let layer = Predictions {
        logits: Tensor::from_slice(&logits)
            .reshape([2, 3, 4])
            .set_requires_grad(true),
        pred_boxes: Tensor::from_slice(&boxes).reshape([2, 3, 4]),
    };
    let criterion = SetCriterion {
        class_weights: Some(vec![0.5, 1.0, 4.0]),
        settings: LossSettings {
            bbox_loss_coefficient: 0.0,
            giou_loss_coefficient: 0.0,
            ..LossSettings::DETR
        },
        ..criterion(AuxiliaryLoss::Off)
    };
    let loss = criterion.loss(&[slice_all(&layer)], &targets, &[]).unwrap();
    loss.loss.backward();
    assert!((loss.loss.double_value(&[]) - LOSS).abs() < 1e-6);
    let ours: Vec<f32> = numbers(&layer.logits.grad());
    let off = ours
        .iter()
        .zip(GRADIENT)
        .map(|(ours, theirs)| (ours - theirs).abs());
    assert!(off.fold(0.0, f32::max) < 1e-6, "{ours:?}");
}

#[test]
fn class_weights_must_be_positive_and_for_known_classes() {
    let read = |weights: Value| {
        let config = json!({"model": {"class_weights": weights}});
        SetCriterion::from_config(&json!({}), &config, &spec(), &LossSettings::DETR)
    };
    assert_eq!(
        read(json!({"class 1": 3})).unwrap().class_weights,
        Some(vec![1.0, 3.0, 1.0])
    );
    assert_eq!(read(Value::Null).unwrap().class_weights, None);
    for wrong in [
        json!([1, 2]),
        json!({"cat": 1}),
        json!([1, 0, 2]),
        json!("balanced"),
    ] {
        let error = read(wrong.clone()).unwrap_err();
        assert_eq!(error.key.as_str(), "model.class_weights", "{wrong}");
    }
    // Labels that aren't classes are rejected by the loss, not here.
    let targets = Targets::new(Tensor::from_slice(&[9i64]), boxes(&[1, 4]), vec![1]).unwrap();
    let normalisers = read(json!([2, 2, 2])).unwrap().normalisers(&targets, 4).unwrap();
    assert!((normalisers[1] - 1.3).abs() < 1e-9);
}

use crate::matcher_tests::matched;
use crate::{AuxiliaryLoss, LossSettings, MatchCosts, Predictions, SetCriterion, SetLoss, Targets};
use cvhost_plugin_api::data::LabelSpec;
use cvhost_plugin_api::error::ErrorKind;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tch::{Device, Kind, Tensor};

const CLASSES: i64 = 3;
pub(crate) const COSTS: MatchCosts = LossSettings::DETR.costs;

/// Held from seeding to the last draw: all tests share libtorch's default generator.
static GENERATOR: Mutex<()> = Mutex::new(());

pub(crate) fn criterion(auxiliary: AuxiliaryLoss) -> SetCriterion {
    SetCriterion {
        settings: LossSettings::DETR,
        class_weights: None,
        auxiliary,
    }
}

pub(crate) fn spec() -> LabelSpec {
    LabelSpec {
        names: (0..CLASSES).map(|c| format!("class {c}").into()).collect(),
        ..Default::default()
    }
}

/// Random boxes inside the image.
pub(crate) fn boxes(shape: &[i64]) -> Tensor {
    let size = Tensor::rand(shape, (Kind::Float, Device::Cpu)).narrow(-1, 0, 2) * 0.4 + 0.05;
    let center = Tensor::rand(shape, (Kind::Float, Device::Cpu)).narrow(-1, 0, 2) * 0.5 + 0.25;
    Tensor::cat(&[center, size], -1)
}

pub(crate) fn predictions(seed: i64, images: i64, queries: i64) -> Predictions {
    let _held = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    Predictions {
        logits: Tensor::randn([images, queries, CLASSES + 1], (Kind::Float, Device::Cpu))
            .set_requires_grad(true),
        pred_boxes: boxes(&[images, queries, 4]).set_requires_grad(true),
    }
}

pub(crate) fn targets(seed: i64, counts: &[i64]) -> Targets {
    let _held = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    let total = counts.iter().sum();
    let labels = Tensor::randint(CLASSES, [total], (Kind::Int64, Device::Cpu));
    Targets::new(labels, boxes(&[total, 4]), counts.to_vec()).unwrap()
}

fn slice(p: &Predictions, image: i64) -> Predictions {
    Predictions {
        logits: p.logits.narrow(0, image, 1),
        pred_boxes: p.pred_boxes.narrow(0, image, 1),
    }
}

fn values(loss: &SetLoss) -> (f64, BTreeMap<String, f64>) {
    let parts = loss
        .parts
        .iter()
        .map(|p| (p.name.to_string(), p.tensor.tensor().double_value(&[])))
        .collect();
    (loss.loss.double_value(&[]), parts)
}

pub(crate) fn numbers<T>(tensor: &Tensor) -> Vec<T>
where
    Vec<T>: TryFrom<Tensor>,
    <Vec<T> as TryFrom<Tensor>>::Error: std::fmt::Debug,
{
    Vec::try_from(tensor.detach().contiguous().reshape([-1])).unwrap()
}

#[test]
fn loss_is_the_sum_of_its_weighted_parts_in_closed_form() {
    let (layer, targets) = (predictions(4, 1, 4), targets(5, &[1]));
    let layers = [layer];
    let (loss, parts) = values(
        &criterion(AuxiliaryLoss::Off)
            .loss(&layers, &targets, &[])
            .unwrap(),
    );
    assert!((loss - parts["loss_ce"] - 5.0 * parts["loss_bbox"] - 2.0 * parts["loss_giou"]).abs() < 1e-5);

    let query = matched(&layers, &targets).1[0].pairs[0].query as i64;
    let label: i64 = numbers::<i64>(&targets.class_labels)[0];
    let log = layers[0].logits.log_softmax(-1, Kind::Float);
    let mut ce = 0.0;
    for q in 0..4 {
        let (class, weight) = if q == query { (label, 1.0) } else { (CLASSES, 0.1) };
        ce -= weight * log.double_value(&[0, q, class]);
    }
    assert!((parts["loss_ce"] - ce / 1.3).abs() < 1e-5);
    let l1 = (layers[0].pred_boxes.get(0).get(query) - targets.boxes.get(0))
        .abs()
        .sum(Kind::Float);
    assert!((parts["loss_bbox"] - l1.double_value(&[])).abs() < 1e-5);
    let found = numbers::<i64>(&layers[0].logits.argmax(-1, false))
        .iter()
        .filter(|&&c| c != CLASSES)
        .count();
    assert!((parts["cardinality_error"] - (found as f64 - 1.0).abs()).abs() < 1e-6);
    assert!(layers.iter().all(|l| !l.logits.grad().defined()));
}

#[test]
fn a_loss_scale_multiplies_every_gradient_and_gradients_keep_the_precision() {
    let (layer, targets) = (predictions(4, 2, 5), targets(5, &[1, 3]));
    let gradients = |scale: f64, kind: Kind| {
        let leaf = |x: &Tensor| x.detach().to_kind(kind).set_requires_grad(true);
        let layer = Predictions {
            logits: leaf(&layer.logits),
            pred_boxes: leaf(&layer.pred_boxes),
        };
        let loss = criterion(AuxiliaryLoss::Off)
            .loss(&[slice_all(&layer)], &targets, &[])
            .unwrap();
        assert_eq!(loss.loss.kind(), Kind::Float);
        (loss.loss * scale).backward();
        [layer.logits.grad(), layer.pred_boxes.grad()]
    };
    let off = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
    let plain = gradients(1.0, Kind::Float);
    for (plain, scaled) in plain.iter().zip(gradients(1024.0, Kind::Float)) {
        assert!(plain.abs().max().double_value(&[]) > 1e-3);
        assert!(off(&(plain * 1024.0), &scaled) < 1e-4);
    }
    for (plain, half) in plain.iter().zip(gradients(1.0, Kind::BFloat16)) {
        assert_eq!(half.kind(), Kind::BFloat16);
        assert!(off(plain, &half.to_kind(Kind::Float)) < 0.2);
    }
}

#[test]
fn accumulated_images_add_up_to_one_batch() {
    let counts = [2, 0, 3];
    let (whole, targets) = (predictions(6, 3, 5), targets(7, &counts));
    let criterion = criterion(AuxiliaryLoss::Off);
    let together = criterion.loss(&[slice_all(&whole)], &targets, &[]).unwrap();
    together.loss.backward();
    let (expected, expected_parts) = values(&together);
    let gradient = whole.logits.grad().copy();
    let _ = whole.logits.grad().zero_();

    let micro: Vec<Targets> = (0..3).map(|i| one(&targets, i)).collect();
    let sums = micro
        .iter()
        .map(|t| criterion.normalisers(t, 5).unwrap())
        .fold(vec![0.0; 3], |sum, n| {
            sum.iter().zip(n).map(|(a, b)| a + b).collect()
        });
    let mut total = 0.0;
    let mut parts: BTreeMap<String, f64> = BTreeMap::new();
    for (image, targets) in micro.iter().enumerate() {
        let loss = criterion
            .loss(&[slice(&whole, image as i64)], targets, &sums)
            .unwrap();
        loss.loss.backward();
        let (value, own) = values(&loss);
        total += value;
        own.into_iter()
            .for_each(|(name, v)| *parts.entry(name).or_default() += v);
    }
    assert!((total - expected).abs() < 1e-5);
    for (name, value) in expected_parts {
        assert!((parts[&name] - value).abs() < 1e-5, "{name}");
    }
    assert!((whole.logits.grad() - gradient).abs().max().double_value(&[]) < 1e-6);
}

pub(crate) fn slice_all(p: &Predictions) -> Predictions {
    Predictions {
        logits: p.logits.shallow_clone(),
        pred_boxes: p.pred_boxes.shallow_clone(),
    }
}

/// The targets of one image.
fn one(targets: &Targets, image: usize) -> Targets {
    let first = targets.counts[..image].iter().sum();
    let count = targets.counts[image];
    Targets::new(
        targets.class_labels.narrow(0, first, count),
        targets.boxes.narrow(0, first, count),
        vec![count],
    )
    .unwrap()
}

#[test]
fn auxiliary_layers_count_with_their_weight() {
    let layers = [predictions(8, 2, 5), predictions(9, 2, 5), predictions(10, 2, 5)];
    let targets = targets(11, &[2, 1]);
    let alone = |i: usize| {
        values(
            &criterion(AuxiliaryLoss::Off)
                .loss(&layers[i..=i], &targets, &[])
                .unwrap(),
        )
        .0
    };
    let (off, parts) = values(
        &criterion(AuxiliaryLoss::Off)
            .loss(&layers, &targets, &[])
            .unwrap(),
    );
    assert!((off - alone(2)).abs() < 1e-5 && parts.len() == 4);
    let (on, parts) = values(
        &criterion(AuxiliaryLoss::Weighted(0.5))
            .loss(&layers, &targets, &[])
            .unwrap(),
    );
    assert!((on - alone(2) - 0.5 * (alone(0) + alone(1))).abs() < 1e-4);
    assert_eq!(parts.len(), 12);
    assert!(parts.contains_key("loss_giou_0") && parts.contains_key("loss_ce_1"));
}

#[test]
fn images_without_targets_or_with_more_targets_than_queries_have_a_finite_loss() {
    for counts in [vec![0, 0], vec![0, 2], vec![7, 1]] {
        let (layer, targets) = (predictions(12, 2, 4), targets(13, &counts));
        let loss = criterion(AuxiliaryLoss::Off)
            .loss(&[slice_all(&layer)], &targets, &[])
            .unwrap();
        assert!(loss.loss.double_value(&[]).is_finite(), "{counts:?}");
        loss.loss.backward();
        for tensor in [&layer.logits, &layer.pred_boxes] {
            let gradient = tensor.grad();
            assert!(
                !gradient.defined() || gradient.isfinite().all().int64_value(&[]) == 1,
                "{counts:?}"
            );
        }
    }
    let mut none = criterion(AuxiliaryLoss::Off);
    none.settings.eos_coefficient = 0.0;
    let loss = none
        .loss(&[predictions(1, 1, 4)], &targets(1, &[0]), &[])
        .unwrap();
    assert_eq!(loss.loss.double_value(&[]), 0.0);
}

#[test]
fn invalid_targets_are_errors_and_non_finite_predictions_give_a_non_finite_loss() {
    let fails = |layer: Predictions, targets: &Targets| {
        criterion(AuxiliaryLoss::Off)
            .loss(&[layer], targets, &[])
            .err()
            .unwrap()
    };
    let good = targets(14, &[1, 2]);
    let broken = |logits: bool, value: f64| {
        let layer = predictions(15, 2, 4);
        let (logits_bad, boxes_bad) = (layer.logits.detach().copy(), layer.pred_boxes.detach().copy());
        let _ = (if logits { &logits_bad } else { &boxes_bad })
            .get(1)
            .fill_(value);
        let layer = Predictions {
            logits: logits_bad.set_requires_grad(true),
            pred_boxes: boxes_bad.set_requires_grad(true),
        };
        let loss = criterion(AuxiliaryLoss::Off)
            .loss(&[slice_all(&layer)], &good, &[])
            .unwrap();
        loss.loss.backward();
        let broken = if logits { &layer.logits } else { &layer.pred_boxes };
        let gradient = broken.grad().get(1);
        assert_eq!(
            gradient.isnan().any().int64_value(&[]),
            1,
            "the gradient is {gradient:?}"
        );
        loss.loss.double_value(&[])
    };
    assert!(!broken(true, f64::NAN).is_finite());
    assert!(!broken(true, f64::INFINITY).is_finite());
    assert!(!broken(false, f64::NAN).is_finite());
    assert!(!broken(false, f64::INFINITY).is_finite());

    let bad_label = Targets::new(Tensor::from_slice(&[0i64, 1, 3]), boxes(&[3, 4]), vec![1, 2]).unwrap();
    let error = fails(predictions(16, 2, 4), &bad_label);
    assert_eq!(error.kind, ErrorKind::DATA);
    assert!(
        error.to_string().contains("[1, 3]") && error.to_string().contains("3 classes"),
        "{error}"
    );

    let nan = Targets::new(
        Tensor::from_slice(&[0i64]),
        Tensor::from_slice(&[f32::NAN; 4]).reshape([1, 4]),
        vec![1, 0],
    );
    let error = fails(predictions(17, 2, 4), &nan.unwrap());
    assert!(
        error.to_string().contains("image 0") && error.to_string().contains("target box"),
        "{error}"
    );

    assert!(
        fails(predictions(18, 3, 4), &good)
            .to_string()
            .contains("3 images, targets for 2")
    );
    assert!(
        Targets::new(
            Tensor::from_slice(&[0i64]),
            Tensor::from_slice(&[0f32; 4]),
            vec![1]
        )
        .is_err()
    );
}

#[test]
fn configuration_sets_costs_weights_and_auxiliary_losses() {
    let read = |checkpoint: Value, config: Value| {
        SetCriterion::from_config(&checkpoint, &config, &spec(), &LossSettings::DETR)
    };
    assert_eq!(
        read(json!({}), Value::Null).unwrap(),
        criterion(AuxiliaryLoss::Off)
    );
    let own = read(
        json!({"class_cost": 2, "eos_coefficient": 0.3, "auxiliary_loss": true}),
        json!({}),
    )
    .unwrap();
    assert_eq!(
        (own.settings.costs.class, own.settings.eos_coefficient),
        (2.0, 0.3)
    );
    assert_eq!(own.auxiliary, AuxiliaryLoss::Weighted(1.0));
    let off = read(
        json!({"auxiliary_loss": true}),
        json!({"model": {"aux_loss_weight": 0}}),
    )
    .unwrap();
    assert_eq!(off.auxiliary, AuxiliaryLoss::Off);
    let on = read(json!({}), json!({"model": {"aux_loss_weight": 0.5}})).unwrap();
    assert_eq!(on.auxiliary, AuxiliaryLoss::Weighted(0.5));

    let error = read(json!({}), json!({"model": {"aux_loss_weight": -1}})).unwrap_err();
    assert_eq!(
        (error.kind, error.key.as_str()),
        (ErrorKind::CONFIG, "model.aux_loss_weight")
    );
    assert!(
        read(json!({"bbox_cost": "much"}), json!({}))
            .unwrap_err()
            .to_string()
            .contains("bbox_cost")
    );
    let none = json!({"class_cost": 0, "bbox_cost": 0, "giou_cost": 0});
    assert!(read(none, json!({})).unwrap_err().to_string().contains("all 0"));
}

use crate::{
    AuxiliaryLoss, DetectionOptions, MatchCosts, Predictions, SetCriterion, SetLoss, Targets, cxcywh_to_xyxy,
    detections, generalized_iou,
};
use cvhost_plugin_api::data::Meta;
use cvhost_plugin_api::error::ErrorKind;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tch::{Device, Kind, Tensor};

const CLASSES: i64 = 3;
const COSTS: MatchCosts = MatchCosts {
    class: 1.0,
    bbox: 5.0,
    giou: 2.0,
};

/// Held from seeding to the last draw: all tests share libtorch's one generator.
static GENERATOR: Mutex<()> = Mutex::new(());

fn criterion(auxiliary: AuxiliaryLoss) -> SetCriterion {
    SetCriterion {
        costs: COSTS,
        eos_coefficient: 0.1,
        bbox_loss_coefficient: 5.0,
        giou_loss_coefficient: 2.0,
        auxiliary,
    }
}

/// Random boxes that lie inside the picture.
fn boxes(shape: &[i64]) -> Tensor {
    let size = Tensor::rand(shape, (Kind::Float, Device::Cpu)).narrow(-1, 0, 2) * 0.4 + 0.05;
    let center = Tensor::rand(shape, (Kind::Float, Device::Cpu)).narrow(-1, 0, 2) * 0.5 + 0.25;
    Tensor::cat(&[center, size], -1)
}

fn predictions(seed: i64, pictures: i64, queries: i64) -> Predictions {
    let _held = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    Predictions {
        logits: Tensor::randn([pictures, queries, CLASSES + 1], (Kind::Float, Device::Cpu))
            .set_requires_grad(true),
        pred_boxes: boxes(&[pictures, queries, 4]).set_requires_grad(true),
    }
}

fn targets(seed: i64, counts: &[i64]) -> Targets {
    let _held = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    let total = counts.iter().sum();
    let labels = Tensor::randint(CLASSES, [total], (Kind::Int64, Device::Cpu));
    Targets::new(labels, boxes(&[total, 4]), counts.to_vec()).unwrap()
}

fn slice(p: &Predictions, picture: i64) -> Predictions {
    Predictions {
        logits: p.logits.narrow(0, picture, 1),
        pred_boxes: p.pred_boxes.narrow(0, picture, 1),
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

fn numbers<T>(tensor: &Tensor) -> Vec<T>
where
    Vec<T>: TryFrom<Tensor>,
    <Vec<T> as TryFrom<Tensor>>::Error: std::fmt::Debug,
{
    Vec::try_from(tensor.detach().contiguous().reshape([-1])).unwrap()
}

#[test]
fn giou_of_known_boxes() {
    let a = Tensor::from_slice2(&[
        [0.0f32, 0.0, 2.0, 2.0],
        [0.0, 0.0, 1.0, 1.0],
        [1.0, 1.0, 1.0, 1.0],
    ]);
    let b = Tensor::from_slice2(&[
        [1.0f32, 1.0, 3.0, 3.0],
        [0.0, 0.0, 1.0, 1.0],
        [1.0, 1.0, 1.0, 1.0],
    ]);
    let giou: Vec<f32> = numbers(&generalized_iou(&a, &b));
    // Intersection 1, union 7, hull 9.
    assert!((giou[0] - (1.0 / 7.0 - 2.0 / 9.0)).abs() < 1e-6);
    assert!((giou[1] - 1.0).abs() < 1e-6);
    assert!(giou[2].is_finite(), "boxes without area");

    let pairs = generalized_iou(&a.unsqueeze(1), &b.unsqueeze(0));
    assert_eq!(pairs.size(), [3, 3]);
    assert!((pairs.double_value(&[0, 0]) - f64::from(giou[0])).abs() < 1e-7);
    // Apart: intersection 0, union 1 + 4, hull 9.
    assert!((pairs.double_value(&[1, 0]) + 4.0 / 9.0).abs() < 1e-6);

    let xyxy: Vec<f32> = numbers(&cxcywh_to_xyxy(&Tensor::from_slice(&[0.5f32, 0.5, 0.2, 0.4])));
    assert!(
        xyxy.iter()
            .zip([0.4, 0.3, 0.6, 0.7])
            .all(|(a, b)| (a - b).abs() < 1e-6)
    );
}

/// The least cost of giving each target a query of its own, by trying all ways.
fn cheapest(cost: &[Vec<f64>], target: usize, used: &mut Vec<bool>) -> f64 {
    if target == cost[0].len() {
        return 0.0;
    }
    let mut best = f64::INFINITY;
    for query in 0..cost.len() {
        if !used[query] {
            used[query] = true;
            best = best.min(cost[query][target] + cheapest(cost, target + 1, used));
            used[query] = false;
        }
    }
    best
}

#[test]
fn matching_is_as_cheap_as_any_and_stays_within_each_picture() {
    let (queries, counts) = (6, [3i64, 0, 4]);
    let layers = [predictions(1, 3, queries), predictions(2, 3, queries)];
    let targets = targets(3, &counts);
    let matching = COSTS.assign(&layers, &targets).unwrap();
    assert_eq!(matching.pairs, 7);
    let (rows, columns): (Vec<i64>, Vec<i64>) = (numbers(&matching.queries), numbers(&matching.targets));

    let labels: Vec<i64> = numbers(&targets.class_labels);
    let wanted = cxcywh_to_xyxy(&targets.boxes);
    for (l, layer) in layers.iter().enumerate() {
        let mut first = 0;
        for (picture, &count) in counts.iter().enumerate() {
            // The cost as the paper writes it, one pair at a time.
            let cost: Vec<Vec<f64>> = (0..queries)
                .map(|q| {
                    let p = layer.logits.get(picture as i64).get(q).softmax(-1, Kind::Float);
                    let b = layer.pred_boxes.get(picture as i64).get(q);
                    (first..first + count)
                        .map(|t| {
                            let l1 = (&b - targets.boxes.get(t))
                                .abs()
                                .sum(Kind::Float)
                                .double_value(&[]);
                            let giou = generalized_iou(&cxcywh_to_xyxy(&b), &wanted.get(t)).double_value(&[]);
                            5.0 * l1 - p.double_value(&[labels[t as usize]]) - 2.0 * giou
                        })
                        .collect()
                })
                .collect();
            let base = (l as i64 * 3 + picture as i64) * queries;
            let pairs: Vec<(i64, i64)> = rows[l * 7..(l + 1) * 7]
                .iter()
                .zip(&columns[l * 7..(l + 1) * 7])
                .filter(|(q, _)| (base..base + queries).contains(q))
                .map(|(q, t)| (q - base, t - first))
                .collect();
            assert_eq!(pairs.len() as i64, count);
            assert!(pairs.iter().all(|(_, t)| (0..count).contains(t)));
            let found: f64 = pairs.iter().map(|&(q, t)| cost[q as usize][t as usize]).sum();
            if count > 0 {
                let best = cheapest(&cost, 0, &mut vec![false; queries as usize]);
                assert!(
                    (found - best).abs() < 1e-4,
                    "layer {l}, picture {picture}: {found}, best {best}"
                );
            }
            first += count;
        }
    }
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

    let query: i64 = numbers::<i64>(&COSTS.assign(&layers, &targets).unwrap().queries)[0];
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
fn accumulated_pictures_add_up_to_one_batch() {
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
        .map(|t| criterion.normalisers(t, 5))
        .fold(vec![0.0; 3], |sum, n| {
            sum.iter().zip(n).map(|(a, b)| a + b).collect()
        });
    let mut total = 0.0;
    let mut parts: BTreeMap<String, f64> = BTreeMap::new();
    for (picture, targets) in micro.iter().enumerate() {
        let loss = criterion
            .loss(&[slice(&whole, picture as i64)], targets, &sums)
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

fn slice_all(p: &Predictions) -> Predictions {
    Predictions {
        logits: p.logits.shallow_clone(),
        pred_boxes: p.pred_boxes.shallow_clone(),
    }
}

/// The targets of one picture.
fn one(targets: &Targets, picture: usize) -> Targets {
    let first = targets.counts[..picture].iter().sum();
    let count = targets.counts[picture];
    Targets::new(
        targets.class_labels.narrow(0, first, count),
        targets.boxes.narrow(0, first, count),
        vec![count],
    )
    .unwrap()
}

#[test]
fn auxiliary_layers_count_with_their_factor() {
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
fn nothing_to_find_and_more_than_queries_can_hold() {
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
    let none = SetCriterion {
        eos_coefficient: 0.0,
        ..criterion(AuxiliaryLoss::Off)
    };
    let loss = none
        .loss(&[predictions(1, 1, 4)], &targets(1, &[0]), &[])
        .unwrap();
    assert_eq!(loss.loss.double_value(&[]), 0.0);
}

#[test]
fn unusable_targets_are_errors_that_name_them_and_unusable_predictions_a_loss_that_is_no_number() {
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
            logits: logits_bad,
            pred_boxes: boxes_bad,
        };
        let loss = criterion(AuxiliaryLoss::Off).loss(&[layer], &good, &[]);
        loss.unwrap().loss.double_value(&[])
    };
    assert!(!broken(true, f64::NAN).is_finite());
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
        error.to_string().contains("picture 0") && error.to_string().contains("target box"),
        "{error}"
    );

    assert!(
        fails(predictions(18, 3, 4), &good)
            .to_string()
            .contains("3 pictures, targets for 2")
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
fn configuration_says_costs_weights_and_auxiliary_losses() {
    let read = |checkpoint: Value, config: Value| SetCriterion::from_config(&checkpoint, &config);
    assert_eq!(
        read(json!({}), Value::Null).unwrap(),
        criterion(AuxiliaryLoss::Off)
    );
    let own = read(
        json!({"class_cost": 2, "eos_coefficient": 0.3, "auxiliary_loss": true}),
        json!({}),
    )
    .unwrap();
    assert_eq!((own.costs.class, own.eos_coefficient), (2.0, 0.3));
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

#[test]
fn detections_are_in_original_pixels_above_the_threshold_in_query_order() {
    // Two queries: class 1 with 0.7, and class 0 with 0.2 where "no object" would win.
    let probabilities: [f32; 6] = [0.1, 0.7, 0.2, 0.2, 0.1, 0.7];
    let logits = Tensor::from_slice(&probabilities).log().reshape([1, 2, 3]);
    let boxes = Tensor::from_slice(&[0.5f32, 0.5, 0.5, 0.5, 0.25, 0.25, 0.5, 0.5]).reshape([1, 2, 4]);
    let metas = [Meta {
        width: 200,
        height: 100,
        ..Default::default()
    }];
    let run = |options: Value| {
        let options = DetectionOptions::from_json(&options).unwrap();
        let fields = detections(&logits, &boxes, &metas, &options).unwrap().remove(0);
        let labels = fields
            .require("class_labels")
            .unwrap()
            .values::<i64>()
            .unwrap()
            .to_vec();
        (labels, fields.require("boxes").unwrap().to_rows::<4>().unwrap())
    };
    let (labels, found) = run(json!({}));
    assert_eq!(labels, [1, 0]);
    assert_eq!(found, [[50.0, 25.0, 150.0, 75.0], [0.0, 0.0, 100.0, 50.0]]);
    assert_eq!(run(json!({"threshold": 0.5})).0, [1]);
    assert!(run(json!({"threshold": 0.99})).0.is_empty());
    assert_eq!(run(json!({"max_detections": 1})).0, [1]);
    assert_eq!(run(json!({"max_detections": null, "threshold": null})).0, [1, 0]);
    assert!(DetectionOptions::from_json(&json!({"threshold": "high"})).is_err());
    assert!(detections(&logits, &boxes, &[], &DetectionOptions::default()).is_err());
}

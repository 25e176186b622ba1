//! The fixture and what pycocotools says of it are made by `fixtures/make.py`.

use super::*;
use crate::testing::{Folder, annotation, document};
use cvhost_plugin_api::data::{RecordArgs, Role};
use cvhost_plugin_api::sdk::DataSet;
use serde_json::{Value, json};
use std::path::Path;

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The fixture's records, and its predictions record by record.
fn fixture_set() -> (LabelSpec, Vec<Fields>, Vec<Fields>) {
    let gt = fixture("gt.json");
    let names: Vec<&str> = gt["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["file_name"].as_str().unwrap())
        .collect();
    let data = Folder::with(&names).open(&gt, json!({})).unwrap();
    let spec = data.spec();
    let all = fixture("predictions.json");
    let (mut targets, mut predictions) = (Vec::new(), Vec::new());
    for index in 0..data.len() {
        let target = data.record(&RecordArgs::at(index as u64)).unwrap().fields;
        let image = image_id(&target).unwrap();
        let (mut boxes, mut labels, mut scores) = (Vec::new(), Vec::new(), Vec::new());
        for p in all.as_array().unwrap().iter().filter(|p| p["image_id"] == image) {
            let [x, y, w, h]: [f64; 4] = serde_json::from_value(p["bbox"].clone()).unwrap();
            boxes.push([x, y, x + w, y + h]);
            let id = p["category_id"].as_i64().unwrap();
            labels.push(spec.ids.iter().position(|i| *i == id).unwrap() as i64);
            scores.push(p["score"].as_f64().unwrap() as f32);
        }
        targets.push(target);
        predictions.push(prediction(&boxes, &labels, &scores));
    }
    (spec, predictions, targets)
}

fn prediction(boxes: &[[f64; 4]], labels: &[i64], scores: &[f32]) -> Fields {
    Fields::new()
        .with("boxes", Role::BOXES, Array::rows(boxes))
        .with("class_labels", Role::COLUMN, Array::vector(labels))
        .with("scores", Role::COLUMN, Array::vector(scores))
}

fn assert_equal(report: &Report, name: &str, expected: f64) {
    let value = report.get(name).unwrap_or_else(|| panic!("no {name}"));
    let same = if expected < 0.0 {
        value.is_nan()
    } else {
        (value - expected).abs() < 1e-12
    };
    assert!(same, "{name}: {value}, pycocotools says {expected}");
}

fn assert_is_what_pycocotools_says(report: &Report) {
    let expected = fixture("expected.json");
    for ((name, _), value) in SUMMARY.iter().zip(expected["stats"].as_array().unwrap()) {
        assert_equal(report, name, value.as_f64().unwrap());
    }
    for (class, values) in expected["classes"].as_object().unwrap() {
        assert_equal(report, &format!("map_{class}"), values[0].as_f64().unwrap());
        assert_equal(report, &format!("mar_100_{class}"), values[1].as_f64().unwrap());
    }
}

#[test]
fn the_numbers_are_those_of_pycocotools() {
    let (spec, predictions, targets) = fixture_set();
    let mut evaluator = CocoEvaluator::new(&spec, true).unwrap();
    let ids: Vec<u64> = (0..targets.len() as u64).collect();
    for batch in [0..5, 5..6, 6..targets.len()] {
        evaluator
            .update(&ids[batch.clone()], &predictions[batch.clone()], &targets[batch])
            .unwrap();
    }
    let report = evaluator.compute().unwrap();
    assert_is_what_pycocotools_says(&report);
    assert_eq!(report.tables[0].rows.len(), 4);

    // What is saved is exactly what was evaluated, so pycocotools gives the same numbers for the file.
    let saved: Value = serde_json::from_slice(&report.artifacts[0].bytes).unwrap();
    assert_eq!(saved, fixture("predictions.json"));
}

#[test]
fn halves_that_are_merged_are_the_whole() {
    let (spec, predictions, targets) = fixture_set();
    let ids: Vec<u64> = (0..targets.len() as u64).collect();
    let mut halves = Vec::new();
    for rank in 0..2 {
        let mut half = CocoEvaluator::new(&spec, true).unwrap();
        for i in (rank..targets.len()).step_by(2) {
            half.update(&ids[i..=i], &predictions[i..=i], &targets[i..=i])
                .unwrap();
        }
        halves.push(half.state().unwrap());
    }
    let mut merged = CocoEvaluator::new(&spec, true).unwrap();
    for half in &halves {
        merged.merge(half).unwrap();
    }
    let report = merged.compute().unwrap();
    assert_is_what_pycocotools_says(&report);
    let saved: Value = serde_json::from_slice(&report.artifacts[0].bytes).unwrap();
    assert_eq!(saved, fixture("predictions.json"));
    assert_eq!(merged.state().unwrap(), {
        let mut again = CocoEvaluator::new(&spec, true).unwrap();
        again.merge(&merged.state().unwrap()).unwrap();
        again.state().unwrap()
    });
}

#[test]
fn a_image_that_comes_twice_counts_once() {
    let (spec, predictions, targets) = fixture_set();
    let mut ids: Vec<u64> = (0..targets.len() as u64).collect();
    let twice = |list: &[Fields]| list.iter().chain(&list[..3]).cloned().collect::<Vec<_>>();
    ids.extend([0, 1, 2]);
    let mut evaluator = CocoEvaluator::new(&spec, false).unwrap();
    evaluator
        .update(&ids, &twice(&predictions), &twice(&targets))
        .unwrap();
    evaluator
        .update(&ids[..3], &predictions[..3], &targets[..3])
        .unwrap();
    assert_is_what_pycocotools_says(&evaluator.compute().unwrap());
}

#[test]
fn a_state_that_is_not_one_is_an_error() {
    let (spec, predictions, targets) = fixture_set();
    let mut evaluator = CocoEvaluator::new(&spec, true).unwrap();
    evaluator
        .update(&[1, 2], &predictions[1..3], &targets[1..3])
        .unwrap();
    let state = evaluator.state().unwrap();
    for length in 0..state.len() {
        assert!(
            evaluator.merge(&state[..length]).is_err(),
            "{length} of {}",
            state.len()
        );
    }
    assert!(evaluator.merge(&[7; 100]).is_err());
}

#[test]
fn nothing_to_evaluate_gives_nan_and_no_panic() {
    let spec = LabelSpec {
        names: vec!["a".into()].into(),
        ids: vec![1].into(),
        ..Default::default()
    };
    for spec in [spec, LabelSpec::default()] {
        let report = CocoEvaluator::new(&spec, true).unwrap().compute().unwrap();
        assert!(report.get("map").unwrap().is_nan());
        assert_eq!(report.artifacts[0].bytes.as_slice(), b"[]");
    }
}

#[test]
fn targets_without_predictions_and_the_reverse_are_evaluated() {
    let folder = Folder::with(&["a.jpg", "b.jpg"]);
    let document = document(
        &[(1, "a.jpg"), (2, "b.jpg")],
        vec![annotation(1, 1, 5, [10.0, 10.0, 20.0, 20.0])],
    );
    let data = folder.open(&document, json!({})).unwrap();
    let targets = [
        data.record(&RecordArgs::at(0)).unwrap().fields,
        data.record(&RecordArgs::at(1)).unwrap().fields,
    ];
    let none = prediction(&[], &[], &[]);
    let wrong = prediction(&[[0.0, 0.0, 5.0, 5.0]], &[1], &[0.5]);
    let mut evaluator = CocoEvaluator::new(&data.spec(), false).unwrap();
    evaluator
        .update(&[0, 1], &[none.clone(), none.clone()], &targets)
        .unwrap();
    assert_eq!(evaluator.compute().unwrap().get("map"), Some(0.0));
    evaluator.update(&[0, 1], &[none, wrong], &targets).unwrap();
    let report = evaluator.compute().unwrap();
    assert_eq!(report.get("map"), Some(0.0));
    assert!(report.get("map_nine").unwrap().is_nan());
    assert!(report.get("map_large").unwrap().is_nan());
}

#[test]
fn a_perfect_model_has_map_1_and_nan_is_left_out() {
    let folder = Folder::with(&["a.jpg"]);
    let document = document(
        &[(1, "a.jpg")],
        vec![annotation(1, 1, 5, [10.0, 10.0, 20.0, 20.0])],
    );
    let data = folder.open(&document, json!({})).unwrap();
    let target = data.record(&RecordArgs::at(0)).unwrap().fields;
    let found = prediction(
        &[
            [10.0, 10.0, 30.0, 30.0],
            [f64::NAN, 0.0, 1.0, 1.0],
            [1.0, 1.0, 2.0, 2.0],
        ],
        &[0, 0, 0],
        &[0.01, 0.9, f32::NAN],
    );
    let mut evaluator = CocoEvaluator::new(&data.spec(), true).unwrap();
    evaluator.update(&[0], &[found], &[target]).unwrap();
    let report = evaluator.compute().unwrap();
    assert!((report.get("map").unwrap() - 1.0).abs() < 1e-12);
    let saved: Value = serde_json::from_slice(&report.artifacts[0].bytes).unwrap();
    assert_eq!(saved.as_array().unwrap().len(), 1);
}

#[test]
fn labels_of_classes_that_the_data_lacks_are_skipped_and_unknown_ones_told() {
    let spec = LabelSpec {
        names: vec!["other".into(), "a".into()].into(),
        ids: vec![-1, 5].into(),
        ..Default::default()
    };
    let target = Fields::new()
        .with("image_id", Role::OPAQUE, Array::vector(&[3i64]))
        .with(
            "ground_truth",
            Role::OPAQUE,
            Array::rows(&[[1.0, 10.0, 10.0, 20.0, 20.0, 400.0, 0.0]]),
        );
    let boxes = [[10.0, 10.0, 30.0, 30.0]; 2];
    let mut evaluator = CocoEvaluator::new(&spec, true).unwrap();
    let found = prediction(&boxes, &[0, 1], &[0.9, 0.5]);
    evaluator
        .update(&[0], &[found], std::slice::from_ref(&target))
        .unwrap();
    let report = evaluator.compute().unwrap();
    assert!((report.get("map").unwrap() - 1.0).abs() < 1e-12);
    assert_eq!(report.get("map_other"), None);
    let saved: Value = serde_json::from_slice(&report.artifacts[0].bytes).unwrap();
    assert_eq!(saved[0]["category_id"], 5);
    assert_eq!(saved.as_array().unwrap().len(), 1);

    let error = evaluator
        .update(&[0], &[prediction(&boxes[..1], &[2], &[0.9])], &[target])
        .unwrap_err();
    assert!(
        error
            .message
            .contains("predicts label 2, but there are only 2 classes"),
        "{error}"
    );
}

#[test]
fn every_declared_metric_is_reported() {
    let (spec, predictions, targets) = fixture_set();
    let mut evaluator = CocoEvaluator::new(&spec, false).unwrap();
    let ids: Vec<u64> = (0..targets.len() as u64).collect();
    evaluator.update(&ids, &predictions, &targets).unwrap();
    let report = evaluator.compute().unwrap();
    for metric in metrics() {
        let name = metric.name.replace("<class>", "ninety");
        assert!(report.get(&name).is_some(), "{name}");
    }
    assert!(report.artifacts.is_empty());
}

#[test]
fn the_fixture_has_what_makes_it_hard() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gt.json");
    let set = cvhost_annotations::coco::open(&path, Default::default())
        .unwrap()
        .set;
    let annotations = &set.annotations;
    assert!(annotations.iter().any(|a| a.crowd));
    assert!(annotations.iter().any(|a| a.bbox[2] == 0.0));
    assert!(annotations.iter().any(|a| a.bbox[0] < 0.0));
    assert!(
        set.images
            .ids()
            .iter()
            .any(|id| annotations.iter().all(|a| a.image_id != *id))
    );
}

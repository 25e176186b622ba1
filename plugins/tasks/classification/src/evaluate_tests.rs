use super::*;
use cvhost_plugin_api::data::{Array, Role};
use serde_json::json;

fn spec(classes: usize, multi_label: bool) -> LabelSpec {
    LabelSpec {
        names: (0..classes).map(|c| format!("c{c}").into()).collect(),
        ids: (0..classes as i64).collect(),
        extra: json!({"multi_label": multi_label, "class_counts": vec![1; classes]})
            .to_string()
            .into(),
        ..Default::default()
    }
}

fn prediction(scores: &[f32]) -> Fields {
    Fields::new().with("class_scores", Role::DISTRIBUTION, Array::vector(scores))
}

fn target(classes: usize, labels: &[usize], image: &str) -> Fields {
    let mut values = vec![0.0f32; classes];
    for &label in labels {
        values[label] = 1.0;
    }
    Fields::new()
        .with("class_distribution", Role::DISTRIBUTION, Array::vector(&values))
        .with("image", Role::TEXT, Array::text(image))
}

/// A test case of the fixture.
struct Case {
    name: String,
    spec: LabelSpec,
    predictions: Vec<Fields>,
    targets: Vec<Fields>,
    expected: Vec<(String, Option<f64>)>,
}

fn cases() -> Vec<Case> {
    let cases: Value = serde_json::from_str(include_str!("../fixtures/cases.json")).unwrap();
    let case = |case: &Value| {
        let classes = case["classes"].as_u64().unwrap() as usize;
        let scores: Vec<Vec<f32>> = serde_json::from_value(case["scores"].clone()).unwrap();
        let truth: Vec<Vec<usize>> = serde_json::from_value(case["truth"].clone()).unwrap();
        Case {
            name: case["name"].as_str().unwrap().to_owned(),
            spec: spec(classes, case["multi_label"].as_bool().unwrap()),
            predictions: scores.iter().map(|s| prediction(s)).collect(),
            targets: truth.iter().map(|t| target(classes, t, "x")).collect(),
            expected: case["expected"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.clone(), value.as_f64()))
                .collect(),
        }
    };
    cases.as_array().unwrap().iter().map(case).collect()
}

fn fed(case: &Case, ids: impl Iterator<Item = usize>) -> ClassificationEvaluator {
    let mut evaluator = ClassificationEvaluator::new(&case.spec, true).unwrap();
    for id in ids {
        let (p, t) = (&case.predictions[id..=id], &case.targets[id..=id]);
        evaluator.update(&[id as u64], p, t).unwrap();
    }
    evaluator
}

#[test]
fn metrics_match_scikit_learn() {
    let cases = cases();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let report = fed(&case, 0..case.targets.len()).compute().unwrap();
        assert_eq!(report.scalars.len(), case.expected.len(), "{}", case.name);
        for (metric, expected) in &case.expected {
            let found = report.get(metric).unwrap();
            match expected {
                Some(expected) => assert!(
                    (found - expected).abs() <= 1e-9,
                    "{}: {metric} is {found}, scikit-learn {expected}",
                    case.name
                ),
                None => assert!(found.is_nan(), "{}: {metric} is {found}", case.name),
            }
        }
    }
}

#[test]
fn the_fixture_covers_the_hard_cases() {
    let of = |name: &str| cases().into_iter().find(|c| c.name == name).unwrap();
    let value = |case: &Case, metric: &str| case.expected.iter().find(|(m, _)| m == metric).unwrap().1;
    let never = of("a class that is never predicted");
    assert_eq!(value(&never, "recall_c2"), Some(0.0));
    let untrue = of("a class that is predicted but never true");
    assert_eq!(
        (value(&untrue, "precision_c2"), value(&untrue, "auroc_c2")),
        (Some(0.0), None)
    );
    let many = of("twelve classes with equal scores");
    assert_eq!(value(&many, "f1_c11"), None);
    let top = value(&many, "accuracy_top_5").unwrap();
    assert!(top > value(&many, "accuracy").unwrap() && top < 1.0, "{top}");
    let several = of("several labels");
    assert_eq!(
        (value(&several, "auroc_c4"), value(&several, "recall_c6")),
        (None, Some(0.0))
    );
}

#[test]
fn merged_parts_equal_the_whole_bit_by_bit() {
    for case in cases() {
        let count = case.targets.len();
        let whole = fed(&case, 0..count).compute().unwrap();
        let mut first = fed(&case, (0..count).rev().filter(|i| i % 3 == 0));
        for part in 1..3 {
            // The last image is repeated, as in the last batch of a distributed sampler.
            let other = fed(&case, (0..count).filter(|i| i % 3 == part || *i == count - 1));
            first.merge(&other.state().unwrap()).unwrap();
        }
        let merged = first.compute().unwrap();
        for (a, b) in whole.scalars.iter().zip(&merged.scalars) {
            assert_eq!(
                (a.name.as_str(), a.value.to_bits()),
                (b.name.as_str(), b.value.to_bits())
            );
        }
        assert_eq!(whole.worst, merged.worst);
        assert_eq!(whole.matrices, merged.matrices);
        assert_eq!(whole.curves, merged.curves);
        assert_eq!(whole.artifacts, merged.artifacts);
    }
}

#[test]
fn an_invalid_state_is_an_error() {
    let mut evaluator = ClassificationEvaluator::new(&spec(3, false), false).unwrap();
    let own = evaluator.state().unwrap();
    for bytes in [
        &b"nonsense"[..],
        &own[..own.len() - 1],
        &[own.as_slice(), &[0]].concat(),
    ] {
        assert!(
            evaluator
                .merge(bytes)
                .unwrap_err()
                .message
                .contains("not written by")
        );
    }
    let other = ClassificationEvaluator::new(&spec(2, false), false).unwrap();
    assert!(
        evaluator
            .merge(&other.state().unwrap())
            .unwrap_err()
            .message
            .contains("has 2 classes, but this evaluator has 3")
    );
    let mut huge = own;
    huge[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(evaluator.merge(&huge).is_err());
}

#[test]
fn every_declared_metric_is_reported() {
    let case = &cases()[1];
    let report = fed(case, 0..10).compute().unwrap();
    for metric in metrics() {
        let name = metric.name.replace("<class>", "c0");
        assert!(report.get(&name).is_some(), "{name}");
    }
}

#[test]
fn an_empty_evaluation_yields_nan_without_panic() {
    for multi_label in [false, true] {
        let mut evaluator = ClassificationEvaluator::new(&spec(2, multi_label), true).unwrap();
        let report = evaluator.compute().unwrap();
        for scalar in &report.scalars {
            assert!(scalar.value.is_nan(), "{} is {}", scalar.name, scalar.value);
        }
    }
}

#[test]
fn tables_curves_and_the_matrix_match_the_predictions() {
    let mut evaluator = ClassificationEvaluator::new(&spec(3, false), false).unwrap();
    let scores = [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]];
    let predictions = scores.map(|s| prediction(&s));
    let targets = [0, 1, 1].map(|label| target(3, &[label], "x"));
    evaluator.update(&[4, 7, 9], &predictions, &targets).unwrap();
    let report = evaluator.compute().unwrap();
    let matrix = &report.matrices[0];
    assert_eq!(matrix.labels.as_slice(), ["c0", "c1", "c2"]);
    assert_eq!(
        matrix.values.as_slice(),
        [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    );
    let rows = &report.tables[0].rows;
    assert_eq!(rows.len(), 2, "c2 appears nowhere");
    assert_eq!(
        rows[1].as_slice(),
        ["c1", "2", "1", "1.000", "0.500", "0.667", "1.000"]
    );
    let confusion = &report.tables[1];
    assert_eq!(
        confusion.columns.as_slice(),
        ["true, predicted as", "c0", "c1", "c2"]
    );
    assert_eq!(confusion.rows[1].as_slice(), ["c1", "1", "1", "0"]);
    let names: Vec<&str> = report.curves.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["roc_c0", "roc_c1"]);
    assert_eq!(report.worst.as_slice(), [7]);
    assert!(report.artifacts.is_empty());
}

#[test]
fn the_most_confidently_wrong_come_first() {
    let mut evaluator = ClassificationEvaluator::new(&spec(2, false), false).unwrap();
    let scores = [[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.7, 0.3]];
    let predictions = scores.map(|s| prediction(&s));
    let targets = [1, 1, 1, 1].map(|label| target(2, &[label], "x"));
    evaluator.update(&[0, 1, 2, 3], &predictions, &targets).unwrap();
    assert_eq!(evaluator.compute().unwrap().worst.as_slice(), [1, 3, 0]);

    let mut evaluator = ClassificationEvaluator::new(&spec(2, true), false).unwrap();
    let targets = [&[1][..], &[0], &[], &[0, 1]].map(|labels| target(2, labels, "x"));
    evaluator.update(&[0, 1, 2, 3], &predictions, &targets).unwrap();
    // Distances: 0.6; none; 0.8; 0.7.
    assert_eq!(evaluator.compute().unwrap().worst.as_slice(), [2, 3, 0]);
}

#[test]
fn saved_predictions_are_csv_in_record_order() {
    let run = |multi_label: bool| {
        let mut labels = spec(2, multi_label);
        labels.names[1] = "b, \"c\"".into();
        let mut evaluator = ClassificationEvaluator::new(&labels, true).unwrap();
        let predictions = [[0.6, 0.8], [0.9, 0.1]].map(|s| prediction(&s));
        let targets = [target(2, &[1], "z/1.png"), target(2, &[0], "a.png")];
        evaluator.update(&[1, 0], &predictions, &targets).unwrap();
        let report = evaluator.compute().unwrap();
        assert_eq!(report.artifacts[0].file_name, "predictions.csv");
        String::from_utf8(report.artifacts[0].bytes.to_vec()).unwrap()
    };
    let single = "image,label,label_id,score,true_label\na.png,c0,0,0.9,c0\nz/1.png,\"b, \"\"c\"\"\",1,0.8,\"b, \"\"c\"\"\"\n";
    assert_eq!(run(false), single);
    let several = "image,labels,scores,true_labels\na.png,c0,0.9,c0\nz/1.png,\"b, \"\"c\"\"|c0\",0.8|0.6,\"b, \"\"c\"\"\"\n";
    assert_eq!(run(true), several);
}

#[test]
fn additional_checkpoint_classes_are_not_judged_in_a_multi_label_dataset() {
    let mut labels = spec(3, true);
    labels.ids[2] = -1;
    let mut evaluator = ClassificationEvaluator::new(&labels, false).unwrap();
    let predictions = [[0.9, 0.1, 0.9], [0.2, 0.8, 0.9]].map(|s| prediction(&s));
    let targets = [target(3, &[0], "x"), target(3, &[1], "x")];
    evaluator.update(&[0, 1], &predictions, &targets).unwrap();
    let report = evaluator.compute().unwrap();
    assert_eq!(report.get("accuracy"), Some(1.0));
    assert_eq!(report.get("precision"), Some(1.0));
    assert!(report.get("precision_c2").unwrap().is_nan());
}

#[test]
fn mismatched_targets_and_predictions_are_errors() {
    let mut evaluator = ClassificationEvaluator::new(&spec(2, false), false).unwrap();
    let good = prediction(&[0.5, 0.5]);
    let mut refused = |p: &Fields, t: Fields| {
        let error = evaluator.update(&[0], std::slice::from_ref(p), &[t]).unwrap_err();
        error.message.to_string()
    };
    assert!(refused(&good, target(2, &[], "x")).contains("0 classes"));
    assert!(refused(&good, target(3, &[0], "x")).contains("3 values"));
    assert!(refused(&prediction(&[1.0]), target(2, &[0], "x")).contains("1 class_scores"));
    assert!(refused(&Fields::new(), target(2, &[0], "x")).contains("`class_scores` is missing"));
    assert!(evaluator.update(&[0, 1], &[good], &[]).is_err());
}

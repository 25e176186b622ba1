//! Metrics compared with scikit-learn on fresh cases, and with another batch size.

use crate::bench::{Bench, path_in};
use cvhost_plugin_api::abi_stable::std_types::RSlice;
use cvhost_plugin_api::data::{Array, Fields, LabelSpec, Role};
use cvhost_plugin_api::sdk::EvaluatorArgs;
use cvhost_tests::{golden::registry, python, root, skip};
use serde_json::{Value, json};

const MAKER: &str = "plugins/tasks/classification/fixtures/make.py";

#[test]
fn metrics_of_fresh_cases_match_scikit_learn() {
    let python = match python::with(&["numpy", "sklearn"]) {
        Ok(python) => python,
        Err(reason) => return skip("metrics_of_fresh_cases_match_scikit_learn", &reason),
    };
    let (task, _) = registry().task("classification", &json!({})).unwrap();
    let script = std::fs::read_to_string(root().join(MAKER)).unwrap();
    for seed in ["1", "2", "3"] {
        let cases: Value = serde_json::from_str(&python::run(&python, &script, &[seed])).unwrap();
        for case in cases.as_array().unwrap() {
            let classes = case["classes"].as_u64().unwrap() as usize;
            let spec = LabelSpec {
                names: (0..classes).map(|c| format!("c{c}").into()).collect(),
                ids: (0..classes as i64).collect(),
                extra: json!({"multi_label": case["multi_label"]}).to_string().into(),
                ..LabelSpec::default()
            };
            let args = EvaluatorArgs::new(&spec, json!({}));
            let mut evaluator = args.lend(|args| task.evaluator(args)).into_result().unwrap();
            let (predictions, targets) = fields(case, classes);
            let ids: Vec<u64> = (0..targets.len() as u64).collect();
            let (ids, predictions, targets) = (
                RSlice::from_slice(&ids),
                RSlice::from_slice(&predictions),
                RSlice::from_slice(&targets),
            );
            evaluator.update(ids, predictions, targets).into_result().unwrap();
            let report = evaluator.compute().into_result().unwrap();
            for (metric, expected) in case["expected"].as_object().unwrap() {
                let found = report.get(metric).unwrap();
                let same = match expected.as_f64() {
                    Some(expected) => (found - expected).abs() <= 1e-9,
                    None => found.is_nan(),
                };
                assert!(
                    same,
                    "seed {seed}, {}: {metric} {found}, scikit-learn {expected}",
                    case["name"]
                );
            }
        }
    }
}

/// Predictions and targets of a case.
fn fields(case: &Value, classes: usize) -> (Vec<Fields>, Vec<Fields>) {
    let scores: Vec<Vec<f32>> = serde_json::from_value(case["scores"].clone()).unwrap();
    let truth: Vec<Vec<usize>> = serde_json::from_value(case["truth"].clone()).unwrap();
    let prediction = |s: &Vec<f32>| Fields::new().with("class_scores", Role::DISTRIBUTION, Array::vector(s));
    let target = |labels: &Vec<usize>| {
        let values: Vec<f32> = (0..classes)
            .map(|c| f32::from(u8::from(labels.contains(&c))))
            .collect();
        Fields::new().with("class_distribution", Role::DISTRIBUTION, Array::vector(&values))
    };
    (
        scores.iter().map(prediction).collect(),
        truth.iter().map(target).collect(),
    )
}

#[test]
fn predictions_do_not_depend_on_the_batch_size() {
    let bench = Bench::new();
    let model = bench.trained(&["training.max_epochs=1"]);
    let saved = |size: &str| {
        let event = bench
            .eval(&model, &["output.save_predictions=true", size])
            .success()
            .last_event();
        let file = path_in(&event, "run_dir").join("predictions.csv");
        std::fs::read_to_string(file).unwrap()
    };
    let (one, five) = (saved("data.batch_size=1"), saved("data.batch_size=5"));
    let rows = |text: &str| -> Vec<Vec<String>> {
        text.lines()
            .skip(1)
            .map(|line| line.split(',').map(str::to_owned).collect())
            .collect()
    };
    let (one, five) = (rows(&one), rows(&five));
    assert_eq!((one.len(), five.len()), (12, 12));
    for (a, b) in one.iter().zip(&five) {
        assert_eq!((&a[0], &a[1], &a[4]), (&b[0], &b[1], &b[4]));
        let scores = [a, b].map(|row| row[3].parse::<f64>().unwrap());
        assert!((scores[0] - scores[1]).abs() < 1e-5, "{a:?} {b:?}");
    }
}

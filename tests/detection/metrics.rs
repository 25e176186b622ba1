//! Metrics and predictions of `eval`, compared with the reference evaluation and with another batch
//! size.

use crate::bench::{Bench, FAMILIES, path_in};
use cvhost_tests::{fixture, python, skip};
use serde_json::Value;
use std::path::PathBuf;

/// Evaluates with `save_predictions`; returns the event and the file.
fn saved(bench: &Bench, family: &str, arguments: &[&str]) -> (Value, PathBuf) {
    let arguments = [&["output.save_predictions=true"], arguments].concat();
    let event = bench
        .eval(&fixture(&format!("golden/{family}")), &arguments)
        .success()
        .last_event();
    let file = path_in(&event, "run_dir").join("predictions.json");
    (event, file)
}

#[test]
fn metrics_match_pycocotools_on_the_saved_predictions() {
    let python = match python::with(&["pycocotools"]) {
        Ok(python) => python,
        Err(reason) => return skip("metrics_match_pycocotools_on_the_saved_predictions", &reason),
    };
    const SCRIPT: &str = "
import contextlib, io, json, sys
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
with contextlib.redirect_stdout(io.StringIO()):
    truth = COCO(sys.argv[1])
    e = COCOeval(truth, truth.loadRes(sys.argv[2]), 'bbox')
    e.evaluate(); e.accumulate(); e.summarize()
print(json.dumps(list(e.stats)))";
    const NAMES: [&str; 12] = [
        "map",
        "map_50",
        "map_75",
        "map_small",
        "map_medium",
        "map_large",
        "mar_1",
        "mar_10",
        "mar_100",
        "mar_small",
        "mar_medium",
        "mar_large",
    ];
    for family in FAMILIES {
        let bench = Bench::new(family);
        let (event, file) = saved(&bench, family, &[]);
        let arguments = [bench.set.annotations.to_str().unwrap(), file.to_str().unwrap()];
        let expected: Vec<f64> = serde_json::from_str(&python::run(&python, SCRIPT, &arguments)).unwrap();
        for (name, expected) in NAMES.iter().zip(expected) {
            // pycocotools reports -1 where there is nothing to measure; we omit such a metric or
            // report the same.
            let found = event["metrics"][format!("val_{name}")].as_f64().unwrap_or(-1.0);
            assert!(
                (found - expected).abs() <= 1e-9,
                "{family} {name}: {found}, pycocotools {expected}"
            );
        }
    }
}

#[test]
fn batch_sizes_one_and_four_agree_within_a_pixel_on_mixed_sizes() {
    for family in FAMILIES {
        let bench = Bench::new(family);
        let read = |size: &str| -> Vec<Value> {
            let (_, file) = saved(&bench, family, &[size]);
            serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
        };
        let (one, four) = (read("data.batch_size=1"), read("data.batch_size=4"));
        assert!(one.len() >= 8);
        assert_eq!(one.len(), four.len());
        for prediction in &one {
            let twin = four
                .iter()
                .map(|other| distance(prediction, other))
                .fold(f64::INFINITY, f64::min);
            assert!(
                twin <= 1.0,
                "{family}: {prediction} is {twin} px from the nearest with batch size 4"
            );
        }
    }
}

/// Largest difference of box edges in pixels; infinite if image, class or score differ.
fn distance(a: &Value, b: &Value) -> f64 {
    let score = |v: &Value| v["score"].as_f64().unwrap();
    if a["image_id"] != b["image_id"]
        || a["category_id"] != b["category_id"]
        || (score(a) - score(b)).abs() > 0.02
    {
        return f64::INFINITY;
    }
    let edges = |v: &Value| -> [f64; 4] {
        let b: Vec<f64> = v["bbox"]
            .as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap())
            .collect();
        [b[0], b[1], b[0] + b[2], b[1] + b[3]]
    };
    edges(a)
        .iter()
        .zip(edges(b))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

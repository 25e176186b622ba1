//! `run`, `eval` and `predict` in sequence, as a user would call them.

use crate::bench::{Bench, FAMILIES, of_event, path_in};
use cvhost_tests::coco::SIZES;
use cvhost_tests::programs::Run;
use serde_json::Value;
use std::path::Path;

#[test]
fn run_eval_and_predict_work_with_each_family_by_changing_model_name_alone() {
    for family in FAMILIES {
        let bench = Bench::new(family);
        let trained = bench.run(&[]).success();
        let run_dir = check_run(&trained.events());
        let best = run_dir.join("checkpoints/best");
        let evaluated = bench.eval(&best, &[]).success().last_event();
        assert_eq!(evaluated["event"], "eval_finished");
        let expected = best_epoch_map(&trained.events());
        let found = evaluated["metrics"]["val_map"].as_f64().unwrap();
        assert!(
            (found - expected).abs() <= 1e-9,
            "{family}: eval {found}, training {expected}"
        );
        check_predict(&bench, &best);
    }
}

#[test]
fn output_lost_to_a_full_disk_is_an_error() {
    let bench = Bench::new("yolos");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = bench.command();
    command.args(["config", "show", "--config"]).arg(&bench.config);
    let output = command.stdout(full).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot write to stdout"), "{stderr}");
}

/// Checks the events of a training run; returns its folder.
fn check_run(events: &[Value]) -> std::path::PathBuf {
    let last = events.last().unwrap();
    assert_eq!(last["event"], "run_finished");
    assert_eq!(last["status"], "ok");
    assert_eq!(
        (last["steps"].as_u64(), last["epochs"].as_u64()),
        (Some(8), Some(2))
    );
    assert!(last["metrics"]["val_map"].is_number(), "{last}");
    assert!(
        last["best"]["metric"].is_string() && last["best"]["value"].is_number(),
        "{last}"
    );
    let epochs: Vec<u64> = of_event(events, "epoch")
        .iter()
        .map(|e| e["epoch"].as_u64().unwrap())
        .collect();
    assert_eq!(epochs, [1, 2]);
    path_in(last, "run_dir")
}

/// `val_map` of the epoch whose monitored metric `run_finished` reports as best.
fn best_epoch_map(events: &[Value]) -> f64 {
    let best = &events.last().unwrap()["best"];
    let metric = best["metric"].as_str().unwrap();
    let epoch = of_event(events, "epoch")
        .into_iter()
        .find(|e| e["metrics"][metric] == best["value"]);
    epoch.unwrap_or_else(|| panic!("no epoch has {best}"))["metrics"]["val_map"]
        .as_f64()
        .unwrap()
}

fn check_predict(bench: &Bench, model: &Path) {
    let out = bench.path("drawn");
    let predicted = bench
        .predict(model, &[&bench.set.images, Path::new("--out"), &out])
        .success();
    let events = predicted.events();
    let lines = of_event(&events, "prediction");
    assert_eq!(lines.len(), SIZES.len());
    for ((line, (width, height)), image) in lines.iter().zip(SIZES).zip(bench.set.images()) {
        assert_eq!(path_in(line, "image"), image);
        assert_eq!(line["width"], width);
        assert_eq!(line["height"], height);
        let predictions = line["predictions"].as_array().unwrap();
        assert!(!predictions.is_empty());
        for p in predictions {
            assert_eq!(
                p["label"],
                ["disc", "ring", "bar", "blob"][p["label_id"].as_u64().unwrap() as usize]
            );
            assert_eq!(p["box_xyxy"].as_array().unwrap().len(), 4);
        }
        let scores: Vec<f64> = predictions.iter().map(|p| p["score"].as_f64().unwrap()).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        let drawn = image::open(path_in(line, "drawn")).unwrap();
        assert_eq!((drawn.width(), drawn.height()), (width, height));
        assert!(path_in(line, "drawn").starts_with(&out));
    }
}

/// Logs and progress go to stderr, even with `--verbose`.
#[test]
fn with_json_stdout_carries_json_lines_only() {
    let bench = Bench::new("yolos");
    let trained: Run = bench.run(&["--verbose", "training.max_epochs=1"]).success();
    assert!(trained.events().len() >= 2); // each line was parsed
    assert!(trained.stderr.contains("run folder"), "{}", trained.stderr);
}

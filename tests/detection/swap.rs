//! A third-party adapter that modifies an installed one. It replaces that one when selected by name
//! or by file, and nothing is rebuilt.

use crate::bench::{Bench, of_event, path_in, refused};
use cvhost::plugins::digest;
use cvhost_tests::programs::{Run, bare_programs, cvhost_in, plugins_in};
use cvhost_tests::{fixture, variant};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Defaults from the variant's schema.
const IOU_THRESHOLD: f64 = 0.7;
const MIN_BOX_SIZE: f64 = 4.0;

/// Images whose sides are already multiples of 32 with plain DETR: both adapters see the same
/// input.
const SAME_INPUT: [usize; 3] = [3, 6, 7];

/// A bench with the variant in a plugin folder.
struct Swap {
    bench: Bench,
    plugins: PathBuf,
    model: PathBuf,
}

impl Swap {
    fn new() -> Swap {
        let bench = Bench::new("detr");
        let plugins = variant::folder_in(bench.folder.path());
        let model = fixture("golden/detr");
        Swap {
            bench,
            plugins,
            model,
        }
    }

    fn file(&self) -> PathBuf {
        self.plugins.join("libdetr_variant.so")
    }

    /// Runs a command that finds the variant in addition to the installed plugins.
    fn with_variant(&self, command: &mut Command) -> Run {
        Run::of(command.env("CVHOST_PLUGIN_PATH", &self.plugins))
    }

    /// Runs `cvhost predict` on all images at threshold 0 with more arguments; the variant is on
    /// the plugin path if `found`.
    fn predict(&self, model: &Path, arguments: &[&str], found: bool) -> Run {
        let mut command = self.bench.command();
        command
            .args(["predict", "--json", "--plugin", "detection", "--threshold", "0"])
            .arg("--model")
            .arg(model)
            .args(arguments)
            .arg(&self.bench.set.images);
        if found {
            self.with_variant(&mut command)
        } else {
            Run::of(&mut command)
        }
    }
}

/// The predictions for each image.
fn predictions(run: Run) -> Vec<Vec<Value>> {
    let events = run.success().events();
    let lists = of_event(&events, "prediction").into_iter();
    lists
        .map(|e| e["predictions"].as_array().unwrap().clone())
        .collect()
}

/// `x0, y0, x1, y1` in pixels.
fn xyxy(prediction: &Value) -> [f64; 4] {
    let corner = |i: usize| prediction["box_xyxy"][i].as_f64().unwrap();
    [corner(0), corner(1), corner(2), corner(3)]
}

fn iou(a: &Value, b: &Value) -> f64 {
    let (a, b) = (xyxy(a), xyxy(b));
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let area = |b: [f64; 4]| (b[2] - b[0]) * (b[3] - b[1]);
    width * height / (area(a) + area(b) - width * height)
}

fn shorter_side(prediction: &Value) -> f64 {
    let [x0, y0, x1, y1] = xyxy(prediction);
    (x1 - x0).min(y1 - y0)
}

/// Applies the variant's filter to predictions in order of descending score.
fn filtered(all: &[Value]) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::new();
    for prediction in all {
        let alone = kept.iter().all(|k| iou(k, prediction) <= IOU_THRESHOLD);
        if alone && shorter_side(prediction) >= MIN_BOX_SIZE {
            kept.push(prediction.clone());
        }
    }
    kept
}

#[test]
fn chosen_by_name_the_variant_filters_what_the_installed_adapter_predicts() {
    let swap = Swap::new();
    let plain = predictions(swap.predict(&swap.model, &[], false));
    let ours = predictions(swap.predict(&swap.model, &["--adapter", "detr-variant"], true));
    assert_eq!(plain.len(), ours.len());
    let mut left_out = 0;
    for image in SAME_INPUT {
        assert_eq!(ours[image], filtered(&plain[image]), "image {image}");
        assert!(!ours[image].is_empty(), "image {image}");
        left_out += plain[image].len() - ours[image].len();
    }
    assert!(left_out > 0, "the filter had nothing to do");
    for (image, kept) in ours.iter().enumerate() {
        for (i, a) in kept.iter().enumerate() {
            assert!(shorter_side(a) >= MIN_BOX_SIZE, "{a}");
            for b in &kept[..i] {
                assert!(iou(a, b) <= IOU_THRESHOLD + 1e-4, "{a} and {b}");
            }
        }
        // The input size differs, so the network saw something else.
        if !SAME_INPUT.contains(&image) {
            assert_ne!(*kept, filtered(&plain[image]), "image {image}");
        }
    }
}

#[test]
fn a_named_file_wins_over_the_installed_adapter_and_a_named_adapter_over_the_file() {
    let swap = Swap::new();
    let file = swap.file().display().to_string();
    let plain = predictions(swap.predict(&swap.model, &[], false));
    let by_name = predictions(swap.predict(&swap.model, &["--adapter", "detr-variant"], true));
    let by_file = predictions(swap.predict(&swap.model, &["--plugin-file", &file], false));
    let file_and_name = ["--plugin-file", &file, "--adapter", "detr"];
    assert_eq!(by_file, by_name);
    assert_eq!(
        predictions(swap.predict(&swap.model, &file_and_name, false)),
        plain
    );
    assert_ne!(by_name, plain);
}

#[test]
fn a_run_with_the_variant_gives_a_checkpoint_of_the_installed_adapter() {
    let swap = Swap::new();
    let chosen = "model.adapter=detr-variant";
    let trained = swap
        .with_variant(&mut swap.bench.with_config("run", &[chosen]))
        .success();
    let best = path_in(&trained.last_event(), "run_dir").join("checkpoints/best");
    assert!(
        trained.stderr.contains("adapter `detr-variant`"),
        "{}",
        trained.stderr
    );
    // The metrics, and the number of predictions they are computed from.
    let eval = |more: &[&str]| {
        let mut command = swap.bench.with_config("eval", more);
        command
            .args(["output.save_predictions=true", "--checkpoint"])
            .arg(&best);
        let event = swap.with_variant(&mut command).success().last_event();
        let file = path_in(&event, "run_dir").join("predictions.json");
        let saved: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        (event["metrics"].clone(), saved.len())
    };
    let (metrics, ours) = eval(&[chosen]);
    let events = trained.events();
    let epochs = of_event(&events, "epoch");
    let best_loss = &trained.last_event()["best"]["value"];
    let epoch = epochs.iter().find(|e| e["metrics"]["val_loss"] == *best_loss);
    assert_eq!(metrics["val_map"], epoch.unwrap()["metrics"]["val_map"]);
    let predicted = predictions(swap.predict(&best, &["--adapter", "detr-variant"], true));
    assert_eq!(ours, predicted.concat().len());
    let (_, plain) = eval(&["model.adapter=detr"]);
    assert!(0 < ours && ours < plain, "{ours} of {plain}");
    let (_, large) = eval(&[chosen, "model.min_box_size=10000"]);
    assert_eq!(large, 0);

    let predicted = swap.predict(&best, &[], false).success();
    for word in ["missing", "unexpected", "initialised"] {
        assert!(!predicted.stderr.contains(word), "{}", predicted.stderr);
    }
}

/// The variant's schema repeats the keys of its base adapter, which gets the whole configuration.
#[test]
fn keys_of_the_installed_adapter_are_accepted_and_reach_it() {
    let swap = Swap::new();
    let schema = |name: &str| {
        let mut command = swap.bench.command();
        let event = swap
            .with_variant(command.args(["plugin", "inspect", "--json", name]))
            .success()
            .last_event();
        event["note"]["config_schema"]["properties"]["model"]["properties"].clone()
    };
    let (ours, base) = (schema("detr-variant"), schema("detr"));
    for key in base.as_object().unwrap().keys() {
        assert!(ours.get(key).is_some(), "the variant's schema lacks model.{key}");
    }
    let loss = |more: &str| {
        let arguments = ["model.adapter=detr-variant", "training.max_epochs=1", more];
        let run = swap.with_variant(&mut swap.bench.with_config("run", &arguments));
        run.success().last_event()["metrics"]["val_loss"]
            .as_f64()
            .unwrap()
    };
    let (without, with) = (loss("model.aux_loss_weight=0"), loss("model.aux_loss_weight=1"));
    assert!(with > without + 0.1, "{with} {without}");
    // The installed adapter doesn't have the variant's own key.
    let arguments = ["model.adapter=detr", "model.min_box_size=3"];
    let run = swap.with_variant(&mut swap.bench.with_config("run", &arguments));
    refused(&run, 2, &["min_box_size"]);
}

#[test]
fn without_a_choice_both_files_are_reported_with_the_ways_to_choose() {
    let swap = Swap::new();
    let words = [
        "several adapters serve `detr` models for detection/1",
        &swap.file().display().to_string(),
        "libcvhost_adapter_detr.so",
        "model.adapter=",
        "--plugin-file",
    ];
    refused(&swap.predict(&swap.model, &[], true), 4, &words);
    refused(
        &swap.with_variant(&mut swap.bench.with_config("run", &[])),
        4,
        &words,
    );
}

#[test]
fn without_its_base_adapter_the_variant_says_which_one_is_missing() {
    let swap = Swap::new();
    let folder = swap.bench.folder.path();
    let installed = plugins_in(&folder.join("installed"), &["task_detection", "logger_jsonl"]);
    let mut command = cvhost_in(&bare_programs(folder));
    command
        .args(["predict", "--plugin", "detection", "--device", "cpu"])
        .arg("--model")
        .arg(&swap.model)
        .arg("--plugins-dir")
        .arg(&installed)
        .arg(&swap.bench.set.images);
    let run = swap.with_variant(&mut command);
    let words = [
        "depends on `detr`",
        "there is no adapter `detr`",
        "install",
        "detr-variant",
    ];
    refused(&run, 4, &words);
}

#[test]
fn a_dropped_in_file_is_used_and_no_other_file_changes() {
    let bench = Bench::new("detr");
    let folder = bench.folder.path();
    let programs = bare_programs(folder);
    let names = ["task_detection", "adapter_detr", "logger_jsonl"];
    let plugins = plugins_in(&folder.join("installed"), &names);
    let predict = |more: &[&str]| {
        let mut command = cvhost_in(&programs);
        command
            .args([
                "predict",
                "--json",
                "--plugin",
                "detection",
                "--device",
                "cpu",
                "--model",
            ])
            .arg(fixture("golden/detr"))
            .arg("--plugins-dir")
            .arg(&plugins)
            .args(more)
            .arg(&bench.set.images);
        predictions(Run::of(&mut command))
    };
    let digests = || -> BTreeMap<PathBuf, String> {
        let entries = [&programs, &plugins].map(|f| std::fs::read_dir(f).unwrap());
        let files = entries.into_iter().flatten().map(|e| e.unwrap().path());
        files.map(|file| (file.clone(), digest(&file).unwrap())).collect()
    };
    let plain = predict(&[]);
    let before = digests();
    let dropped = plugins.join("libdetr_variant.so");
    std::fs::copy(variant::plugin(), &dropped).unwrap();
    let ours = predict(&["--adapter", "detr-variant"]);
    assert_ne!(ours, plain);
    assert_eq!(predict(&["--adapter", "detr"]), plain);
    let mut after = digests();
    assert!(after.remove(&dropped).is_some());
    assert_eq!(after, before);
}

#[test]
fn list_and_inspect_show_the_variant_beside_the_installed_adapter() {
    let swap = Swap::new();
    let plugin = |arguments: &[&str]| {
        let mut command = swap.bench.command();
        swap.with_variant(command.arg("plugin").args(arguments)).success()
    };
    let (listed, loaded) = (plugin(&["list", "--json"]), plugin(&["list", "--json", "--load"]));
    for name in ["detr-variant", "cvhost-adapter-detr"] {
        for (run, event) in [(&listed, "plugin"), (&loaded, "plugin_loaded")] {
            let events = run.events();
            let found = of_event(&events, event).into_iter().find(|e| e["name"] == name);
            assert_eq!(found.unwrap()["status"], "ok", "{name}");
        }
        let events = listed.events();
        let found = events.iter().find(|e| e["name"] == name).unwrap();
        let serves = &found["components"][0]["serves"];
        assert_eq!(serves[0]["form"], "detection/1", "{found}");
        assert_eq!(serves[0]["model_type"], "detr", "{found}");
    }
    let text = plugin(&["inspect", "detr-variant"]).stdout;
    let file = swap.file().display().to_string();
    let words = [
        file.as_str(),
        "provides     adapter detr-variant",
        "serves     detr models for detection/1",
        "libtorch     not used",
        "model.min_box_size",
    ];
    for word in words {
        assert!(text.contains(word), "no `{word}` in:\n{text}");
    }
}

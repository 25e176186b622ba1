//! A third-party plugin, one file built from `cvhost-plugin-api` alone, works as well as a plugin
//! of this workspace.

use cvhost_tests::programs::Run;
use cvhost_tests::toy::Toy;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Epoch numbers from a run's `epoch` events.
fn epochs(run: &Run) -> Vec<u64> {
    run.events()
        .iter()
        .filter(|e| e["event"] == "epoch")
        .map(|e| e["epoch"].as_u64().unwrap())
        .collect()
}

fn finished(run: &Run) -> (Value, PathBuf) {
    let last = run.last_event();
    assert_eq!(last["event"], "run_finished", "{last}");
    assert_eq!(last["status"], "ok", "{last}");
    let folder = PathBuf::from(last["run_dir"].as_str().unwrap());
    (last, folder)
}

/// Writes an image for the task: half `bright` (0 is left, 1 is right) is bright.
fn png(file: &Path, bright: u32) {
    let pixel = |x, _| {
        image::Rgb(if x / 8 == bright {
            [180, 180, 120]
        } else {
            [40, 40, 60]
        })
    };
    image::RgbImage::from_fn(16, 12, pixel).save(file).unwrap();
}

#[test]
fn an_out_of_tree_plugin_trains_evaluates_and_predicts() {
    let toy = Toy::new();
    let run = toy.train(&[]).success();
    assert_eq!(epochs(&run), [1, 2, 3]);
    let (last, folder) = finished(&run);
    assert_eq!(last["metrics"]["val_accuracy"], 1.0, "{last}");
    assert_eq!(last["epochs"], 3);
    for file in ["metrics.jsonl", "params.json", "status.json"] {
        assert!(folder.join(file).metadata().unwrap().len() > 0, "{file} is empty");
    }

    let best = folder.join("checkpoints/best").display().to_string();
    let config = toy.config.to_str().unwrap();
    let eval = toy
        .cvhost(&["eval", "--config", config, "--checkpoint", &best])
        .success()
        .last_event();
    assert_eq!(eval["event"], "eval_finished");
    assert_eq!(eval["metrics"]["val_accuracy"], 1.0, "{eval}");

    for (side, label) in ["left", "right"].iter().enumerate() {
        let file = toy.folder.path().join(format!("{label}.png"));
        png(&file, side as u32);
        let predict = [
            "predict",
            "--plugin",
            "halves",
            "--model",
            &best,
            file.to_str().unwrap(),
        ];
        let prediction = toy.cvhost(&predict).success().last_event();
        assert_eq!(prediction["predictions"][0]["label"], *label, "{prediction}");
    }
}

#[test]
fn a_run_of_an_out_of_tree_plugin_resumes_where_it_ended() {
    let toy = Toy::new();
    let first = toy.train(&["training.max_epochs=1"]).success();
    assert_eq!(epochs(&first), [1]);
    let (_, folder) = finished(&first);
    let resume = format!("--resume={}", folder.display());
    let second = toy.train(&[&resume, "training.max_epochs=3"]).success();
    assert_eq!(epochs(&second), [2, 3]);
    let (last, again) = finished(&second);
    assert_eq!((&last["epochs"], again), (&Value::from(3), folder));
}

#[test]
fn a_third_party_logger_gets_the_same_items_as_built_in_ones() {
    let toy = Toy::new();
    let run = toy
        .train(&["training.max_epochs=1", "loggers.counter={}"])
        .success();
    let (_, folder) = finished(&run);
    let counted = std::fs::read_to_string(folder.join("counter.txt")).unwrap();
    let count: u64 = counted.split(' ').next().unwrap().parse().unwrap();
    assert!(count > 0, "{counted}");
}

/// The lines of a run's `artifacts.jsonl`.
fn artifacts(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("artifacts.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn loggers_get_tags_checkpoints_drawn_images_and_the_report() {
    let toy = Toy::new();
    let settings = [
        "training.max_epochs=1",
        "output.save_predictions=true",
        "output.visualization.save_images=true",
        "output.visualization.max_images=2",
    ];
    let (_, folder) = finished(&toy.train(&settings).success());
    let tags = std::fs::read_to_string(folder.join("tags.json")).unwrap();
    let tags: Value = serde_json::from_str(&tags).unwrap();
    for key in ["task", "model_type", "adapter", "cvhost_version"] {
        assert!(
            tags[key].as_str().is_some_and(|text| !text.is_empty()),
            "{key}: {tags}"
        );
    }
    let artifacts = artifacts(&folder);
    let paths: Vec<&str> = artifacts.iter().map(|a| a["path"].as_str().unwrap()).collect();
    assert!(paths[0].starts_with("checkpoints/epoch-001-step-"), "{paths:?}");
    assert_eq!(
        paths.iter().filter(|path| path.starts_with("pictures/")).count(),
        2
    );
    assert_eq!(paths.last(), Some(&"report.json"), "{paths:?}");
    assert!(paths.iter().all(|path| folder.join(path).exists()), "{paths:?}");
    let drawn = std::fs::read_dir(folder.join("pictures")).unwrap().count();
    assert_eq!(drawn, 2, "the logger wrote no second copy");
}

#[test]
fn a_resumed_run_lists_every_checkpoint_once() {
    let toy = Toy::new();
    let (_, folder) = finished(&toy.train(&["training.max_epochs=2"]).success());
    let resume = format!("--resume={}", folder.display());
    toy.train(&[&resume, "training.max_epochs=4"]).success();
    let artifacts = artifacts(&folder);
    let names = artifacts.iter().map(|a| a["name"].as_str().unwrap());
    let epochs: Vec<&str> = names.map(|name| &name[..9]).collect();
    assert_eq!(epochs, ["epoch-001", "epoch-002", "epoch-003", "epoch-004"]);
}

//! From files to batches: the effect of the `data` keys on a run.

use crate::bench::{Bench, refused};
use cvhost_tests::programs::Run;
use serde_json::{Value, json};

impl Bench {
    /// The event of `cvhost data speed`.
    fn speed(&self, arguments: &[&str]) -> Value {
        let mut command = self.command();
        command
            .args(["data", "speed", "--json", "--plugin", "detection", "--config"])
            .arg(&self.config)
            .args(arguments);
        let run = Run::of(&mut command);
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.last_event()
    }
}

/// The metrics of a run's last epoch.
fn metrics(run: &Run) -> Value {
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.last_event()["metrics"].clone()
}

#[test]
fn memory_stays_flat_over_fifty_epochs() {
    let bench = Bench::new("detr");
    let event = bench.speed(&["--passes", "50", "data.augment=true", "data.num_workers=2"]);
    assert_eq!(event["pictures"], 8);
    let memory: Vec<u64> = event["memory_mb"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m.as_u64().unwrap())
        .collect();
    assert_eq!(memory.len(), 50);
    let (early, late) = (memory[5..15].iter().max(), memory[40..].iter().max());
    assert!(late.unwrap() <= &(early.unwrap() + 4), "{memory:?}");
}

#[test]
fn a_broken_image_ends_the_run_or_is_skipped_and_reported_as_configured() {
    let bench = Bench::new("detr");
    std::fs::write(&bench.set.images()[2], b"\xff\xd8\xff no image").unwrap();
    let name = bench.set.images()[2].file_name().unwrap().to_owned();
    let name = name.to_str().unwrap();
    refused(&bench.run(&[]), 3, &[name, "truncated or corrupt"]);
    let run = bench.run(&["data.broken_files=skip"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let warnings = run
        .stderr
        .lines()
        .filter(|line| line.contains("skipped") && line.contains(name))
        .count();
    // Once by the training loader, once by the validation loader.
    assert_eq!(warnings, 2, "{}", run.stderr);
    let words = ["data.broken_files", "`error` or `skip`"];
    refused(&bench.run(&["data.broken_files=ignore"]), 2, &words[..1]);
}

#[test]
fn fewer_images_than_a_batch_are_an_error_when_the_last_batch_is_dropped() {
    let bench = Bench::new("detr");
    let few = bench.run(&["data.batch_size=16", "data.last_batch=drop"]);
    refused(&few, 3, &["no batch", "lower data.batch_size"]);
}

#[test]
fn a_fraction_of_the_training_images_is_held_out_if_there_are_no_others() {
    let bench = Bench::new("detr");
    bench.edit("  val_data_path:", "  #");
    bench.edit("  val_annotation_file:", "  #");
    let run = bench.run(&["data.val_ratio=0.25", "data.test_ratio=0.25"]);
    assert!(metrics(&run)["val_map"].is_number());
    assert!(
        run.stderr.contains("4 training images, 2 for validation"),
        "{}",
        run.stderr
    );
    let finished = run.last_event();
    let checkpoint = std::path::PathBuf::from(finished["run_dir"].as_str().unwrap()).join("checkpoints/last");
    let eval = |split, seed| {
        let run = bench.eval(
            &checkpoint,
            &[
                "--split",
                split,
                "data.val_ratio=0.25",
                "data.test_ratio=0.25",
                seed,
            ],
        );
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.last_event()
    };
    for (split, images) in [("train", 4), ("val", 2), ("test", 2)] {
        assert_eq!(eval(split, "data.split_seed=42")["pictures"], images, "{split}");
    }
    // The training seed doesn't change the split; the split seed does.
    let loss = |seed| eval("val", seed)["metrics"]["val_loss"].clone();
    assert_eq!(loss("training.seed=9"), loss("training.seed=3"));
    assert_ne!(loss("data.split_seed=1"), loss("data.split_seed=2"));
    let missing = bench.eval(&checkpoint, &["--split", "val"]);
    refused(&missing, 2, &["data.val_data_path", "data.val_ratio"]);
    let beside = Bench::new("detr").run(&["data.val_ratio=0.25", "training.max_steps=1"]);
    assert_eq!(beside.code, 0, "{}", beside.stderr);
    let warning = "`data.val_ratio` has no effect";
    assert!(beside.stderr.contains(warning), "{}", beside.stderr);
}

#[test]
fn caching_and_the_number_of_workers_do_not_change_the_results() {
    let bench = Bench::new("yolos");
    let plain = metrics(&bench.run(&["data.num_workers=0", "data.augment=true"]));
    let cached = bench.run(&[
        "data.num_workers=3",
        "data.prefetch=2",
        "data.cache_mb=64",
        "data.augment=true",
    ]);
    assert_eq!(metrics(&cached), plain);
}

#[test]
fn sampling_and_the_last_batch_determine_the_steps_per_epoch() {
    let bench = Bench::new("detr");
    let steps = |arguments: &[&str]| {
        let run = bench.run(&[arguments, &["training.max_epochs=1", "data.batch_size=3"]].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.last_event()["steps"].clone()
    };
    assert_eq!(steps(&[]), json!(3));
    assert_eq!(steps(&["data.last_batch=drop"]), json!(2));
    assert_eq!(
        steps(&["data.last_batch=pad", "data.group_by_aspect_ratio=true"]),
        json!(3)
    );
    assert_eq!(steps(&["data.sampling=class_balanced"]), json!(3));
    let repeated = steps(&["data.sampling=repeat_factor", "data.repeat_threshold=1.0"]);
    assert!(repeated.as_u64().unwrap() > 3, "{repeated}");
}

#[test]
fn the_throughput_is_reported_with_the_time_per_stage() {
    let bench = Bench::new("detr");
    let event = bench.speed(&["--passes", "2", "--split", "val"]);
    assert!(event["pictures_per_second"].as_f64().unwrap() > 1.0);
    assert_eq!(event["rates"].as_array().unwrap().len(), 2);
    for stage in ["record", "decode", "augment", "prepare"] {
        assert!(event["milliseconds_per_picture"][stage].is_number(), "{stage}");
    }
}

#[test]
fn multi_scale_training_works_with_augmentations_off_in_the_last_epoch() {
    let bench = Bench::new("detr");
    let run = bench.run(&[
        "data.augment=true",
        "data.augmentations.multi_scale=[0.5,1.5]",
        "data.augmentations.mosaic=1.0",
        "data.augmentations.perspective=true",
        "data.augmentations.off_last_epochs=1",
    ]);
    assert!(metrics(&run)["val_map"].is_number());
    let speed = bench.speed(&["--passes", "1", "data.augment=true", "data.scaled_decode=true"]);
    assert_eq!(speed["pictures"], 8);
}

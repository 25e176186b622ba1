//! `--resume`: what a resumed run keeps, updates and refuses.

use crate::bench::{Bench, names, of_event, path_in, refused};
use cvhost_tests::programs::Run;
use std::path::PathBuf;

/// Trains one epoch; returns the run's folder and the `--resume` option with it.
fn one_epoch(bench: &Bench) -> (PathBuf, String) {
    let run = bench
        .run(&[
            "training.max_epochs=1",
            "training.save_every_n_steps=1",
            "training.save_top_k=-1",
        ])
        .success();
    let folder = path_in(&run.last_event(), "run_dir");
    let resume = format!("--resume={}", folder.display());
    (folder, resume)
}

#[test]
fn a_failed_attempt_leaves_the_run_unchanged() {
    let bench = Bench::new("yolos");
    let (folder, resume) = one_epoch(&bench);
    let kept = || {
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let files = ["config.yaml", "status.json", "metrics.jsonl"].map(text);
        (files, names(&folder.join("checkpoints")))
    };
    let before = kept();
    for (setting, word) in [
        ("training.ema=0.9", "lacks `weights."),
        ("training.optimizer=sgd", "lacks `optimizer."),
        ("training.checkpoint_dir=elsewhere", "can't move its checkpoints"),
        ("training.freeze=[typo]", "`typo` matches no trainable parameter"),
    ] {
        let fewer = "training.save_top_k=0";
        let attempt = bench.run(&[&resume, "training.max_epochs=3", fewer, setting]);
        assert!(attempt.code > 1, "{setting}: {}", attempt.code);
        refused(&attempt, attempt.code, &[word]);
        assert_eq!(kept(), before, "{setting}");
    }
    let mut command = bench.command();
    command.args(["run", "--json", &resume, "training.max_epochs=2"]);
    let resumed = Run::of(&mut command).success();
    assert_eq!(resumed.last_event()["epochs"], 2);
    // The saved configuration spells out every key; those that nobody set cause no warnings.
    assert!(!resumed.stderr.contains("has no effect"), "{}", resumed.stderr);
}

#[test]
fn a_run_remembers_its_task_from_the_command_line() {
    let bench = Bench::new("yolos");
    bench.edit("  task_type: detection\n", "");
    let (_, resume) = one_epoch(&bench);
    let mut command = bench.command();
    command.args(["run", "--json", &resume, "training.max_epochs=2"]);
    assert_eq!(Run::of(&mut command).success().last_event()["epochs"], 2);
}

#[test]
fn settings_that_a_resumed_run_does_not_follow_are_reported() {
    let bench = Bench::new("yolos");
    let (_, resume) = one_epoch(&bench);
    let other = bench.path("other.json");
    std::fs::copy(&bench.set.annotations, &other).unwrap();
    let annotations = format!("data.train_annotation_file={}", other.display());
    let settings = [
        &resume,
        "training.max_epochs=2",
        "model.model_name=/nowhere",
        &annotations,
    ];
    let run = bench.run(&settings).success();
    for words in [
        "`model.model_name` stays \"",
        "`data.train_annotation_file` differs from the start of the run",
    ] {
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
}

#[test]
fn a_run_of_another_task_cannot_be_resumed() {
    let bench = Bench::new("yolos");
    let (_, resume) = one_epoch(&bench);
    bench.edit("task_type: detection", "task_type: classification");
    let mut command = bench.command();
    command.args(["run", &resume, "--config"]).arg(&bench.config);
    let words = ["is a run of detection", "the configuration is for classification"];
    refused(&Run::of(&mut command), 2, &words);
}

#[test]
fn a_run_that_never_started_leaves_no_folder() {
    let bench = Bench::new("yolos");
    let file = bench.path("file");
    std::fs::write(&file, "").unwrap();
    let checkpoints = format!("training.checkpoint_dir={}", file.display());
    refused(
        &bench.run(&[&checkpoints]),
        4,
        &["file", "training.checkpoint_dir"],
    );
    refused(&bench.run(&["training.freeze=[typo]"]), 2, &["matches no"]);
    assert_eq!(std::fs::read_dir(bench.path("runs")).unwrap().count(), 0);
}

#[test]
fn with_another_batch_size_a_resumed_run_trains_the_remaining_epochs() {
    let bench = Bench::new("yolos");
    // Four steps per epoch, then two.
    let first = bench
        .run(&["training.max_epochs=3", "training.max_steps=4"])
        .success();
    let folder = format!("--resume={}", path_in(&first.last_event(), "run_dir").display());
    let resumed = bench
        .run(&[&folder, "training.max_epochs=3", "data.batch_size=4"])
        .success();
    let end = resumed.last_event();
    assert_eq!(
        (end["epochs"].as_u64(), end["steps"].as_u64()),
        (Some(3), Some(8))
    );
    // The schedule follows the progress of the training: its last step is the sixth of six with
    // this batch size.
    let events = resumed.events();
    let last = of_event(&events, "epoch")[1]["learning_rate"].as_f64().unwrap();
    let expected = 1e-3 * 0.5 * (1.0 + (std::f64::consts::PI * 5.0 / 6.0).cos());
    assert!((last - expected).abs() < 1e-12, "{last}, expected {expected}");
}

#[test]
fn a_run_on_a_few_batches_only_cannot_be_resumed() {
    let bench = Bench::new("yolos");
    bench
        .run(&["--overfit-batches", "1", "training.max_epochs=1"])
        .success();
    refused(&bench.run(&["--resume"]), 2, &["only on its first 1 batches"]);
}

#[test]
fn a_run_is_resumed_with_its_saved_configuration() {
    let bench = Bench::new("yolos");
    let first = bench
        .run(&["training.max_epochs=3", "training.max_steps=2"])
        .success();
    let run_dir = path_in(&first.last_event(), "run_dir");
    let results = format!("output.results_dir={}", run_dir.parent().unwrap().display());
    let folder = format!("--resume={}", run_dir.display());
    // The run's folder, or the newest run in the results folder.
    for (resume, more, steps) in [
        (folder.as_str(), &[][..], 4),
        ("--resume", &[results.as_str()][..], 6),
    ] {
        let mut command = bench.command();
        command.args(["run", "--json", resume]).args(more);
        command.arg(format!("training.max_steps={steps}"));
        let end = Run::of(&mut command).success().last_event();
        assert_eq!(path_in(&end, "run_dir"), run_dir);
        assert_eq!(end["steps"], steps);
    }
    let mut nothing = bench.command();
    nothing.args(["run", "--resume", "output.results_dir=/nowhere"]);
    refused(&Run::of(&mut nothing), 2, &["there is no run in /nowhere"]);
}

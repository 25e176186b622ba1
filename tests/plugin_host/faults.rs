//! A plugin that fails at run time takes nothing else down.

use cvhost_checkpoint::Weights;
use cvhost_tests::toy::Toy;
use serde_json::json;
use std::path::Path;

#[test]
fn a_panic_in_a_plugin_fails_the_run_and_names_plugin_and_method() {
    let toy = Toy::new();
    let run = toy.train(&["data.panic_in=record"]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    for word in ["toy-plugin", "halves", "record", "the toy was told to panic"] {
        assert!(run.stderr.contains(word), "no `{word}` in: {}", run.stderr);
    }
    let last = run.last_event();
    assert_eq!(
        (last["event"].as_str(), last["status"].as_str()),
        (Some("run_finished"), Some("failed"))
    );
}

#[test]
fn a_faulty_step_is_skipped_or_ends_the_run() {
    let toy = Toy::new();
    for what in ["loss", "gradients"] {
        let wrong = ["model.fault_at_step=5".to_owned(), format!("model.fault={what}")];
        let wrong: Vec<&str> = wrong.iter().map(String::as_str).collect();
        let skipped = toy
            .train(&[&wrong[..], &["training.nan_policy=skip"]].concat())
            .success();
        for word in ["in step 6", "the step is skipped", "Images: "] {
            assert!(
                skipped.stderr.contains(word),
                "{what}, no `{word}` in: {}",
                skipped.stderr
            );
        }
        let last = skipped.last_event();
        assert_eq!(last["epochs"], 3);
        // Buffers that the forward pass changed are restored as well.
        let checkpoint = Path::new(last["run_dir"].as_str().unwrap()).join("checkpoints/last");
        let weights = Weights::open(&[checkpoint.join("model.safetensors")]).unwrap();
        assert_eq!(
            weights.read("classifier.steps").unwrap().int64_value(&[]),
            23,
            "{what}"
        );
        // The weights are intact: the run learns as well as without the fault.
        assert!(
            last["metrics"]["val_accuracy"].as_f64().unwrap() > 0.9,
            "{what}: {last}"
        );
    }
    let stopped = toy.train(&["model.fault_at_step=5", "training.nan_policy=stop"]);
    assert_eq!(stopped.code, 1, "{}", stopped.stderr);
    assert_eq!(stopped.last_event()["steps"], 6);
    for word in ["the loss is NaN in step 6", "training.nan_policy to skip"] {
        assert!(
            stopped.stderr.contains(word),
            "no `{word}` in: {}",
            stopped.stderr
        );
    }
}

#[test]
fn an_out_of_memory_error_says_what_to_lower_and_the_run_can_be_resumed() {
    let toy = Toy::new();
    // Eight steps per epoch: the first epoch's checkpoint exists.
    let run = toy.train(&["model.fault_at_step=12", "model.fault=memory"]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    for word in [
        "out of memory in a step with 8 images of up to",
        "can't allocate memory",
        "lower data.batch_size",
    ] {
        assert!(run.stderr.contains(word), "no `{word}` in: {}", run.stderr);
    }
    let resumed = toy.train(&["--resume"]).success();
    assert!(
        resumed.stderr.contains("resuming after step 8"),
        "{}",
        resumed.stderr
    );
    assert_eq!(resumed.last_event()["epochs"], 3);
}

#[test]
fn a_run_interrupted_in_its_last_validation_only_repeats_that() {
    let toy = Toy::new();
    let whole = toy.train(&[]).success().last_event();
    // Three epochs of eight steps.
    let run = toy.train(&["model.fault_at_step=24", "model.fault=interrupt"]);
    assert_eq!(run.code, 130, "{}", run.stderr);
    let resumed = toy.train(&["--resume"]).success();
    let last = resumed.last_event();
    assert_eq!((&last["steps"], &last["epochs"]), (&json!(24), &json!(3)));
    for what in ["metrics", "best"] {
        assert_eq!(last[what], whole[what], "{what}");
    }
    // Nothing remains to be done now, and the metrics are still known.
    let again = toy.train(&["--resume"]).success().last_event();
    assert_eq!(again["metrics"], whole["metrics"]);
}

#[test]
fn an_interrupted_trial_run_does_not_report_that_everything_works() {
    let toy = Toy::new();
    let run = toy.for_people(&[
        "run",
        "--config",
        toy.config.to_str().unwrap(),
        "--fast-dev-run=2",
        "model.fault_at_step=2",
        "model.fault=interrupt",
    ]);
    assert_eq!(run.code, 130, "{}", run.stderr);
    assert!(
        run.stdout.contains("interrupted after") && !run.stdout.contains("everything works"),
        "{}",
        run.stdout
    );
}

#[test]
fn a_failing_logger_is_named_and_training_continues() {
    let toy = Toy::new();
    let run = toy.train(&["loggers.counter.fail_after=2"]).success();
    let last = run.last_event();
    assert_eq!(
        (last["status"].as_str(), last["epochs"].as_u64()),
        (Some("ok"), Some(3))
    );
    for word in ["counter", "the counter was told to fail"] {
        assert!(run.stderr.contains(word), "no `{word}` in: {}", run.stderr);
    }
    let folder = Path::new(last["run_dir"].as_str().unwrap());
    assert!(
        !folder.join("counter.txt").exists(),
        "a logger that failed was called again"
    );
    assert!(
        folder.join("metrics.jsonl").exists(),
        "the other logger stopped too"
    );
}

#[test]
fn a_default_logger_can_be_switched_off() {
    let toy = Toy::new();
    let last = toy
        .train(&["training.max_epochs=1", "loggers.jsonl=false"])
        .success()
        .last_event();
    let folder = Path::new(last["run_dir"].as_str().unwrap());
    assert!(folder.join("checkpoints").is_dir());
    assert!(!folder.join("metrics.jsonl").exists());
}

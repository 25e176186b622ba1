//! A plugin that fails while it works takes nothing else down.

use cvhost_tests::toy::Toy;
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
fn a_failing_logger_is_named_and_training_goes_on() {
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

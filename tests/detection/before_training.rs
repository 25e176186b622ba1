//! What `run` determines and reports before it trains: the batch size, a learning rate, the trained
//! parameters.

use crate::bench::{Bench, FAMILIES, of_event, path_in, refused};
use cvhost_tests::programs::Run;
use std::path::PathBuf;

/// Weights, optimizer state and RNG states of the last checkpoint.
fn final_files(run: &Run) -> Vec<Vec<u8>> {
    let last = path_in(&run.last_event(), "checkpoint_dir").join("last");
    ["model.safetensors", "training_state/state.safetensors"]
        .map(|name| std::fs::read(last.join(name)).unwrap())
        .to_vec()
}

fn run_config(run: &Run) -> PathBuf {
    path_in(&run.last_event(), "run_dir").join("config.yaml")
}

#[test]
fn a_found_batch_size_trains_bit_identically_to_the_same_configured_one() {
    for family in FAMILIES {
        let bench = Bench::new(family);
        let run = |batch_size: &str| {
            let batch_size = format!("data.batch_size={batch_size}");
            // Dropout draws random numbers, even in the passes that search for the batch size.
            bench
                .run(&[
                    &batch_size,
                    "model.dropout=0.1",
                    "data.augment=true",
                    "training.deterministic=true",
                ])
                .success()
        };
        // A quarter of eight images: memory isn't the limit here on any machine.
        let (found, given) = (run("auto"), run("2"));
        assert!(found.stderr.contains("batch size 2"), "{}", found.stderr);
        assert!(!given.stderr.contains("batch size 2"), "{}", given.stderr);
        assert!(final_files(&found) == final_files(&given), "{family}");
        let config = std::fs::read_to_string(run_config(&found)).unwrap();
        assert!(config.contains("batch_size: 2"), "{config}");
    }
}

#[test]
fn a_resumed_run_keeps_the_batch_size_that_was_found() {
    let bench = Bench::new("yolos");
    let first = bench
        .run(&["data.batch_size=auto", "training.max_epochs=1"])
        .success();
    assert_eq!(first.last_event()["steps"], 4);
    // A number that no search would find shows where it comes from.
    let config = run_config(&first);
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("batch_size: 2", "batch_size: 1")).unwrap();
    let resume = format!("--resume={}", config.parent().unwrap().display());
    let resumed = bench
        .run(&["data.batch_size=auto", "training.max_epochs=2", &resume])
        .success();
    assert_eq!(resumed.last_event()["steps"], 4 + 8);
    assert!(!resumed.stderr.contains("batch size"), "{}", resumed.stderr);
}

#[test]
fn commands_that_do_not_train_use_the_default_batch_size() {
    let bench = Bench::new("yolos");
    bench.edit("batch_size: 2", "batch_size: auto");
    bench.eval(&cvhost_tests::fixture("golden/yolos"), &[]).success();
    let speed = Run::of(
        bench
            .command()
            .args(["data", "speed", "--json", "--config"])
            .arg(&bench.config),
    )
    .success();
    assert_eq!(speed.last_event()["batches"], 2);
    let overfit = bench
        .run(&["--overfit-batches=1", "training.max_epochs=1"])
        .success();
    assert!(
        overfit.stderr.contains("only the first 2 training images"),
        "{}",
        overfit.stderr
    );
}

#[test]
fn a_learning_rate_is_found_and_nothing_is_left_behind() {
    for (family, more) in [
        (
            "detr",
            ["training.accumulate=2", "training.freeze=[model.backbone.*]"],
        ),
        ("yolos", ["training.precision=bf16", "data.batch_size=auto"]),
    ] {
        let bench = Bench::new(family);
        let run = bench
            .run(&[&["--find-lr=60", "training.backbone_lr_scale=1"][..], &more].concat())
            .success();
        let end = run.last_event();
        assert_eq!(end["event"], "find_lr_finished");
        let numbers = |key: &str| -> Vec<f64> {
            let list = end[key].as_array().unwrap();
            list.iter().map(|n| n.as_f64().unwrap()).collect()
        };
        let (rates, losses, smoothed) = (
            numbers("learning_rates"),
            numbers("losses"),
            numbers("smoothed_losses"),
        );
        assert_eq!(
            (rates.len(), losses.len()),
            (smoothed.len(), rates.len()),
            "{end}"
        );
        assert_eq!(rates[0], 1e-7);
        assert!((losses[0] - smoothed[0]).abs() < 1e-9, "{end}");
        assert!(rates.is_sorted() && rates.len() > 30, "{rates:?}");
        // A checkpoint trained for other classes learns at such rates; a rate of 1 ruins it.
        let suggestion = end["suggestion"].as_f64().unwrap();
        assert!((1e-5..0.5).contains(&suggestion), "{family}: {suggestion}");
        assert!(!bench.path("runs").exists());
        assert!(of_event(&run.events(), "run_finished").is_empty());
    }
}

#[test]
fn an_impossible_search_says_why() {
    let bench = Bench::new("yolos");
    refused(
        &bench.run(&["--find-lr", "--resume"]),
        2,
        &["--find-lr", "--resume"],
    );
    refused(&bench.run(&["--find-lr=3"]), 2, &["3", "20"]);
    refused(
        &bench.run(&["--find-lr", "training.freeze=['*']"]),
        2,
        &["no parameter is left to train"],
    );
}

#[test]
fn the_parameter_table_shows_what_is_trained_and_how() {
    let bench = Bench::new("detr");
    let run = bench
        .run(&["training.max_steps=1", "training.freeze=[model.encoder.*]"])
        .success();
    let line = |start: &str| {
        let lines = run.stderr.lines().map(str::trim);
        lines
            .filter(|line| line.starts_with(start))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert!(line("model.backbone").contains("1.0e-4"), "{}", run.stderr);
    assert!(line("model.decoder").contains("1.0e-3"), "{}", run.stderr);
    assert!(line("model.encoder").contains('-'), "{}", run.stderr);
    assert!(
        line("training ").contains("parameters, 1 steps"),
        "{}",
        run.stderr
    );
    let quiet = bench.run(&["training.max_steps=1", "--quiet"]).success();
    assert!(!quiet.stderr.contains("model.decoder"), "{}", quiet.stderr);
}

//! Effects of the training settings, seen from outside.

use crate::bench::{Bench, of_event, path_in, refused};
use cvhost_checkpoint::Weights;
use cvhost_tests::programs::Run;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tch::Kind;

/// The last epoch's training loss.
fn train_loss(run: &Run) -> f64 {
    run.last_event()["metrics"]["train_loss"].as_f64().unwrap()
}

fn last_checkpoint(run: &Run) -> PathBuf {
    path_in(&run.last_event(), "checkpoint_dir").join("last")
}

/// The largest difference of any weight.
fn difference(a: &Path, b: &Path) -> f64 {
    let open = |checkpoint: &Path| Weights::open(&[checkpoint.join("model.safetensors")]).unwrap();
    let (a, b) = (open(a), open(b));
    let differences = a.names().iter().map(|name| {
        let difference = a.read(name).unwrap() - b.read(name).unwrap();
        difference.to_kind(Kind::Double).abs().max().double_value(&[])
    });
    differences.fold(0.0, f64::max)
}

#[test]
fn four_accumulated_batches_of_two_train_like_one_of_eight() {
    // YOLOS has neither batch norm nor dropout here; with images of one size, results don't depend
    // on the other images in the batch.
    let bench = Bench::new("yolos");
    let common = [
        "training.max_steps=3",
        "training.max_epochs=3",
        "training.optimizer=sgd",
        "training.learning_rate=0.01",
        "training.gradient_clip=null",
        "data.image_size=[64,64]",
        "training.deterministic=true",
    ];
    let run = |more: &[&str]| bench.run(&[&common, more].concat()).success();
    let whole = run(&["data.batch_size=8"]);
    let parts = run(&["data.batch_size=2", "training.accumulate=4"]);
    let off = difference(&last_checkpoint(&whole), &last_checkpoint(&parts));
    assert!(off < 1e-5, "weights are off by {off}");
    let start = difference(&cvhost_tests::fixture("golden/yolos"), &last_checkpoint(&whole));
    assert!(start > 1e-3, "nothing was trained");
}

#[test]
fn half_precision_trains_nearly_like_float32() {
    for family in crate::bench::FAMILIES {
        let bench = Bench::new(family);
        let run = |precision: &str| {
            let precision = format!("training.precision={precision}");
            bench.run(&["training.max_epochs=1", &precision]).success()
        };
        let reference = train_loss(&run("fp32"));
        // With fp16 the first steps find the loss scale and are skipped, so this one epoch learns
        // less.
        for (precision, limit) in [("bf16", 0.03), ("fp16", 0.3), ("auto", 0.0)] {
            let loss = train_loss(&run(precision));
            let off = (loss - reference).abs() / reference;
            assert!(
                off <= limit,
                "{family} {precision}: {loss}, with fp32 {reference}"
            );
            assert_eq!(off == 0.0, precision == "auto", "{family} {precision}: {loss}");
        }
    }
    refused(
        &Bench::new("yolos").run(&["training.precision=tf32"]),
        2,
        &["doesn't support TF32", "auto"],
    );
}

#[test]
fn attention_is_fused_or_plain_as_configured() {
    let loss = |attention: &str| {
        let setting = format!("training.attention={attention}");
        let settings = [&setting, "training.max_epochs=1", "training.deterministic=true"];
        train_loss(&Bench::new("yolos").run(&settings).success())
    };
    let (fused, plain) = (loss("auto"), loss("math"));
    // A different summation order changes the bits, but not the values beyond rounding.
    let off = (fused - plain).abs() / fused;
    assert!(off > 0.0 && off < 1e-5, "{fused} and {plain}");
}

#[test]
fn a_float16_overflow_is_never_a_step_and_is_not_blamed_on_images() {
    let bench = Bench::new("detr");
    let run = |more: &[&str]| {
        let settings = [
            "training.precision=fp16",
            "training.max_epochs=1",
            "training.deterministic=true",
        ];
        bench.run(&[&settings, more].concat()).success()
    };
    let scale = |run: &Run| {
        let state = last_checkpoint(run).join("training_state/state.json");
        let state: Value = serde_json::from_str(&std::fs::read_to_string(state).unwrap()).unwrap();
        state["state"]["scaler"]["scale"].as_f64().unwrap()
    };
    let stopping = run(&[]);
    assert!(scale(&stopping) < 65536.0, "nothing overflowed");
    let skipping = run(&["training.nan_policy=skip"]);
    assert!(
        !skipping.stderr.contains("the step is skipped"),
        "{}",
        skipping.stderr
    );
    assert_eq!(
        difference(&last_checkpoint(&stopping), &last_checkpoint(&skipping)),
        0.0
    );
    assert_eq!(train_loss(&stopping), train_loss(&skipping));
    // An infinity that is clipped to a finite value still counts as an overflow.
    let clipping = run(&["training.gradient_clip_value=0.1"]);
    assert_eq!(scale(&clipping), scale(&stopping));
}

#[test]
fn eval_and_predict_compute_in_the_requested_precision() {
    let bench = Bench::new("yolos");
    let run = bench
        .run(&["training.max_epochs=1", "training.precision=bf16"])
        .success();
    let checkpoint = last_checkpoint(&run);
    let trained = run.last_event()["metrics"]["val_loss"].as_f64().unwrap();
    let off = |precision: &str| {
        let precision = format!("training.precision={precision}");
        let eval = bench.eval(&checkpoint, &[&precision]).success();
        (eval.last_event()["metrics"]["val_loss"].as_f64().unwrap() - trained).abs()
    };
    assert!(off("bf16") < 1e-6, "{}", off("bf16"));
    assert!(off("fp32") > 1e-5, "{}", off("fp32"));
    refused(
        &bench.eval(&checkpoint, &["training.precision=tf32"]),
        2,
        &["doesn't support TF32"],
    );
    let scores = |precision: &str| -> Vec<f64> {
        let option = format!("--precision={precision}");
        let run = bench
            .predict(&checkpoint, &[Path::new(&option), &bench.set.images])
            .success();
        let events = run.events();
        let predictions = of_event(&events, "prediction").into_iter();
        let scores = predictions.flat_map(|e| e["predictions"].as_array().unwrap());
        scores.map(|p| p["score"].as_f64().unwrap()).collect()
    };
    let (full, half) = (scores("fp32"), scores("bf16"));
    assert_eq!(full, scores("auto"));
    let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len() as f64;
    let apart = (mean(&full) - mean(&half)).abs();
    assert!(apart > 0.0 && apart < 0.02, "{apart}");
}

#[test]
fn averaged_weights_are_saved_evaluated_and_resumed() {
    let bench = Bench::new("yolos");
    let settings = |epochs: &str| {
        vec![
            format!("training.max_epochs={epochs}"),
            "training.ema={decay: 0.9, tau: 0}".to_owned(),
            "training.scheduler=constant".to_owned(),
            "training.deterministic=true".to_owned(),
        ]
    };
    let run = |settings: &[String], more: &[&str]| {
        let all: Vec<&str> = settings
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        bench.run(&all).success()
    };
    let whole = run(&settings("4"), &[]);
    let half = run(&settings("2"), &[]);
    let folder = path_in(&half.last_event(), "run_dir");
    let resumed = run(&settings("4"), &[&format!("--resume={}", folder.display())]);
    assert_eq!(
        difference(&last_checkpoint(&whole), &last_checkpoint(&resumed)),
        0.0
    );
    let plain = bench
        .run(&[
            "training.max_epochs=4",
            "training.scheduler=constant",
            "training.deterministic=true",
        ])
        .success();
    let lag = difference(&last_checkpoint(&whole), &last_checkpoint(&plain));
    assert!(lag > 1e-4, "the saved weights are not averages");
    let eval = bench.eval(&last_checkpoint(&whole), &[]).success();
    let (saved, trained) = (
        &eval.last_event()["metrics"]["val_loss"],
        &whole.last_event()["metrics"]["val_loss"],
    );
    assert!(
        (saved.as_f64().unwrap() - trained.as_f64().unwrap()).abs() < 1e-5,
        "{saved} {trained}"
    );
}

#[test]
fn a_run_that_unfreezes_resumes_bit_identically_before_and_after() {
    let bench = Bench::new("yolos");
    let common = [
        "training.freeze=['vit.encoder.*']",
        "training.ema={decay: 0.9, tau: 0}",
        "training.scheduler=constant",
        "training.deterministic=true",
    ];
    let run = |epochs: u32, more: &[&str]| {
        let epochs = format!("training.max_epochs={epochs}");
        let all = [&common[..], &[&epochs], more].concat();
        last_checkpoint(&bench.run(&all).success())
    };
    let unfreeze = "training.unfreeze_at_epoch=2";
    let whole = run(4, &[unfreeze]);
    let frozen = run(4, &[]);
    assert!(difference(&whole, &frozen) > 1e-4, "nothing was unfrozen");
    for epochs in [1, 2, 3] {
        let part = run(epochs, &[unfreeze]);
        let folder = part.ancestors().nth(2).unwrap().display().to_string();
        let resumed = run(4, &[unfreeze, &format!("--resume={folder}")]);
        assert_eq!(difference(&whole, &resumed), 0.0, "resumed after {epochs} epochs");
    }
}

#[test]
fn a_trial_run_goes_through_everything_and_leaves_nothing() {
    let bench = Bench::new("detr");
    let run = bench.run(&["--fast-dev-run"]).success();
    let end = run.last_event();
    assert_eq!(
        (end["status"].as_str(), end["steps"].as_u64()),
        (Some("ok"), Some(1))
    );
    assert!(end["metrics"]["val_loss"].is_number(), "{end}");
    assert_eq!(of_event(&run.events(), "checkpoint").len(), 1);
    assert!(!path_in(&end, "run_dir").exists());
    assert!(!bench.path("runs").exists());
}

#[test]
fn a_few_batches_are_overfitted() {
    let bench = Bench::new("yolos");
    let run = bench
        .run(&[
            "--overfit-batches=1",
            "training.max_epochs=30",
            "training.scheduler=constant",
        ])
        .success();
    let events = run.events();
    let losses: Vec<f64> = of_event(&events, "epoch")
        .iter()
        .map(|e| e["metrics"]["train_loss"].as_f64().unwrap())
        .collect();
    assert_eq!(run.last_event()["steps"], 30, "one batch per epoch");
    assert!(losses[29] < 0.6 * losses[0], "{losses:?}");
}

#[test]
fn a_nan_loss_follows_the_policy() {
    let bench = Bench::new("yolos");
    let wild = [
        "training.learning_rate=1e30",
        "training.gradient_clip=null",
        "training.max_epochs=20",
    ];
    let stopped = bench.run(&wild);
    refused(&stopped, 1, &["step", ".png"]);
    let skipped = bench.run(&[&wild[..], &["training.nan_policy=skip"]].concat());
    refused(&skipped, 1, &["the step is skipped", ".png"]);
}

#[test]
fn the_newest_intact_checkpoint_is_found_past_a_broken_one() {
    let bench = Bench::new("yolos");
    let settings = ["training.save_top_k=-1", "training.max_epochs=2"];
    let first = bench.run(&settings).success();
    let last = last_checkpoint(&first)
        .canonicalize()
        .unwrap()
        .join("model.safetensors");
    let mut bytes = std::fs::read(&last).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&last, bytes).unwrap();
    let resumed = bench.run(&[&settings[..], &["--resume"]].concat()).success();
    assert!(
        resumed.stderr.contains("has changed since it was written"),
        "{}",
        resumed.stderr
    );
    let epochs: Vec<Value> = of_event(&resumed.events(), "epoch")
        .into_iter()
        .cloned()
        .collect();
    assert_eq!(epochs.len(), 1, "only the broken epoch is trained again");
    assert_eq!(
        resumed.last_event()["metrics"]["train_loss"],
        first.last_event()["metrics"]["train_loss"]
    );
}

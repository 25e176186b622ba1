//! A run that fails because of its data keeps its progress, and can be resumed once the data is
//! fixed.

use crate::bench::{Bench, path_in, refused};
use cvhost_tests::programs::Run;
use std::path::{Path, PathBuf};

const SETTINGS: [&str; 2] = ["training.deterministic=true", "training.log_every_n_steps=1"];

/// A bench whose validation images are in a folder of their own, and that folder.
fn with_val_folder() -> (Bench, PathBuf) {
    let bench = Bench::new("yolos");
    let val = bench.path("val");
    std::fs::create_dir(&val).unwrap();
    for image in bench.set.images() {
        std::fs::copy(&image, val.join(image.file_name().unwrap())).unwrap();
    }
    let images = bench.set.images.display().to_string();
    bench.edit(
        &format!("val_data_path: {images}"),
        &format!("val_data_path: {}", val.display()),
    );
    (bench, val)
}

/// Contents of the last step's checkpoint.
fn trained(run: &Run) -> Vec<Vec<u8>> {
    let last = path_in(&run.last_event(), "run_dir").join("checkpoints/last");
    ["model.safetensors", "training_state/state.safetensors"]
        .map(|name| std::fs::read(last.join(name)).unwrap())
        .to_vec()
}

fn fails_then_resumes(bench: &Bench, image: &Path, steps: u32) {
    let whole = bench.run(&SETTINGS).success();
    let intact = std::fs::read(image).unwrap();
    std::fs::write(image, &intact[..intact.len() / 2]).unwrap();
    let name = image.file_name().unwrap().to_str().unwrap();
    let saved = format!("saved up to step {steps}");
    refused(&bench.run(&SETTINGS), 3, &[name, &saved]);
    std::fs::write(image, &intact).unwrap();
    let resumed = bench.run(&[&SETTINGS[..], &["--resume"]].concat()).success();
    let after = format!("resuming after step {steps}");
    assert!(resumed.stderr.contains(&after), "{}", resumed.stderr);
    assert_eq!(resumed.last_event()["metrics"], whole.last_event()["metrics"]);
    assert!(trained(&resumed) == trained(&whole), "the weights differ");
}

#[test]
fn an_epoch_is_not_lost_to_a_broken_validation_image() {
    let (bench, val) = with_val_folder();
    // The check before training covers the first four.
    let image = bench.set.images()[6].clone();
    fails_then_resumes(&bench, &val.join(image.file_name().unwrap()), 4);
}

#[test]
fn steps_are_not_lost_to_a_broken_training_image() {
    let (bench, _) = with_val_folder();
    // With the configured seed it is in the third batch.
    let image = bench.set.images()[1].clone();
    fails_then_resumes(&bench, &image, 2);
}

#[test]
fn a_checkpoint_keeps_its_metric_when_the_next_epoch_cannot_start() {
    let (bench, _) = with_val_folder();
    let first = bench
        .run(&[&SETTINGS[..], &["training.max_epochs=1"]].concat())
        .success();
    let best = path_in(&first.last_event(), "run_dir").join("checkpoints/best");
    let before = std::fs::read_link(&best).unwrap();
    for image in bench.set.images() {
        std::fs::write(image, "no image").unwrap();
    }
    let next = [&SETTINGS[..], &["--resume", "training.max_epochs=2"]].concat();
    refused(&bench.run(&next), 3, &["picture_"]);
    assert_eq!(std::fs::read_link(&best).unwrap(), before);
}

//! The test bench: a folder with a dataset and a configuration, and methods that call `cvhost`.

use cvhost_tests::coco::CocoSet;
pub use cvhost_tests::events::{of_event, path_in, refused};
use cvhost_tests::programs::{Run, cvhost};
use cvhost_tests::{fixture, root};
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The model families, chosen by the model folder alone.
pub const FAMILIES: [&str; 2] = ["detr", "yolos"];

pub struct Bench {
    pub folder: tempfile::TempDir,
    pub set: CocoSet,
    pub config: PathBuf,
}

impl Bench {
    /// Creates a dataset and a configuration that trains a tiny checkpoint of `family` on it for
    /// two epochs.
    pub fn new(family: &str) -> Bench {
        Bench::from_model(&fixture(&format!("golden/{family}")))
    }

    pub fn from_model(model: &Path) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let set = CocoSet::write(folder.path());
        let config = folder.path().join("config.yaml");
        let bench = Bench { folder, set, config };
        std::fs::write(&bench.config, bench.yaml(model)).unwrap();
        bench
    }

    fn yaml(&self, model: &Path) -> String {
        let (images, annotations) = (self.set.images.display(), self.set.annotations.display());
        let (model, results) = (model.display(), self.path("runs").display().to_string());
        format!(
            "model:\n  model_name: {model}\n  task_type: detection\n\
             data:\n  train_data_path: {images}\n  train_annotation_file: {annotations}\n  \
             val_data_path: {images}\n  val_annotation_file: {annotations}\n  \
             batch_size: 2\n  num_workers: 1\n  augment: false\n\
             training:\n  max_epochs: 2\n  learning_rate: 1.0e-3\n  use_gpu: false\n  seed: 3\n\
             output:\n  results_dir: {results}\n"
        )
    }

    /// A path in the test's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces text in the configuration; `from` must occur in it.
    pub fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(&self.config, text.replace(from, to)).unwrap();
    }

    /// Number of the first line of the configuration that contains `text`.
    pub fn line_of(&self, text: &str) -> usize {
        let all = std::fs::read_to_string(&self.config).unwrap();
        1 + all.lines().position(|line| line.contains(text)).unwrap()
    }

    /// `cvhost` without network access and without the user's caches.
    pub fn command(&self) -> Command {
        let mut command = cvhost();
        command
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HOME", self.path("hf-home"))
            .current_dir(root());
        command
    }

    /// `cvhost COMMAND --json --plugin detection --config …`.
    pub fn with_config(&self, subcommand: &str, arguments: &[&str]) -> Command {
        let mut command = self.command();
        command
            .args([subcommand, "--json", "--plugin", "detection", "--config"])
            .arg(&self.config)
            .args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        Run::of(&mut self.with_config("run", arguments))
    }

    pub fn eval(&self, checkpoint: &Path, arguments: &[&str]) -> Run {
        Run::of(
            self.with_config("eval", arguments)
                .arg("--checkpoint")
                .arg(checkpoint),
        )
    }

    /// Runs `predict` at threshold 0, which prints every prediction.
    pub fn predict(&self, model: &Path, arguments: &[&Path]) -> Run {
        let mut command = self.command();
        command
            .args([
                "predict",
                "--json",
                "--plugin",
                "detection",
                "--threshold",
                "0",
                "--model",
            ])
            .arg(model);
        Run::of(command.args(arguments))
    }
}

/// Copies a checkpoint so that a test can modify it.
pub fn copy_of(model: &Path, target: &Path) {
    std::fs::create_dir_all(target).unwrap();
    for name in ["config.json", "model.safetensors", "preprocessor_config.json"] {
        std::fs::copy(model.join(name), target.join(name)).unwrap();
    }
}

/// Rewrites a JSON file.
pub fn edit_json(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(file, value.to_string()).unwrap();
}

/// Sorted names of a folder's entries.
pub fn names(folder: &Path) -> Vec<OsString> {
    let mut names: Vec<OsString> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    names
}

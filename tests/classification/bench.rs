//! The test bench: a folder with a dataset, models and a configuration, and methods that call
//! `cvhost`.

use cvhost_tests::cells::{CellSet, write_model};
pub use cvhost_tests::events::{of_event, path_in, refused};
use cvhost_tests::programs::{Run, cvhost};
use cvhost_tests::root;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The model families, chosen by the model folder alone.
pub const FAMILIES: [&str; 2] = ["resnet", "vit"];

pub struct Bench {
    pub folder: tempfile::TempDir,
    pub set: CellSet,
    pub config: PathBuf,
}

impl Bench {
    /// Creates a dataset, a model folder for each family, and a configuration that trains the
    /// ResNet on the dataset for two epochs.
    pub fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let set = CellSet::write(folder.path());
        for family in FAMILIES {
            write_model(&folder.path().join(family), family);
        }
        let config = folder.path().join("config.yaml");
        let bench = Bench { folder, set, config };
        std::fs::write(&bench.config, bench.yaml()).unwrap();
        bench
    }

    fn yaml(&self) -> String {
        let (train, val) = (self.set.train.display(), self.set.val.display());
        let (model, results) = (self.path("resnet"), self.path("runs"));
        let (model, results) = (model.display(), results.display());
        format!(
            "model:\n  model_name: {model}\n  task_type: classification\n  pretrained: false\n\
             data:\n  train_data_path: {train}\n  val_data_path: {val}\n  \
             batch_size: 8\n  num_workers: 1\n  augment: false\n\
             training:\n  max_epochs: 2\n  learning_rate: 1.0e-2\n  backbone_lr_scale: 1.0\n  gradient_clip: 1.0\n  use_gpu: false\n  seed: 3\n  \
             monitor_metric: val_accuracy\n\
             output:\n  results_dir: {results}\n"
        )
    }

    /// A path in the test's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a split's annotation file into the test's folder, and returns the override that
    /// selects it.
    pub fn annotations(&self, split: &str, text: &str) -> String {
        let file = self.path(&format!("{split}.csv"));
        std::fs::write(&file, text).unwrap();
        format!("data.{split}_annotation_file={}", file.display())
    }

    /// `cvhost` without network access and without the user's caches.
    fn command(&self) -> Command {
        let mut command = cvhost();
        command
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HOME", self.path("hf-home"))
            .current_dir(root());
        command
    }

    fn with_config(&self, subcommand: &str, arguments: &[&str]) -> Command {
        let mut command = self.command();
        command
            .args([subcommand, "--json", "--plugin", "classification", "--config"])
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

    pub fn predict(&self, model: &Path, threshold: &str, arguments: &[&Path]) -> Run {
        let mut command = self.command();
        command
            .args(["predict", "--json", "--plugin", "classification", "--threshold"])
            .args([threshold, "--model"])
            .arg(model);
        Run::of(command.args(arguments))
    }

    /// Trains with these overrides, and returns the best checkpoint.
    pub fn trained(&self, arguments: &[&str]) -> PathBuf {
        let last = self.run(arguments).success().last_event();
        path_in(&last, "run_dir").join("checkpoints/best")
    }
}

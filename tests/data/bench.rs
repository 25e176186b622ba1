//! The test bench: a folder with the two splits of a detection dataset, and methods that call
//! `cvhost data`.

use cvhost_tests::coco::CocoSet;
use cvhost_tests::programs::{Run, cvhost};
use cvhost_tests::{fixture, root};
use serde_json::Value;
use std::path::{Path, PathBuf};

pub struct Bench {
    pub folder: tempfile::TempDir,
    pub train: CocoSet,
    pub val: CocoSet,
    pub config: PathBuf,
}

impl Bench {
    /// Creates eight images for training, and as many with different bytes for validation; the
    /// model is a tiny DETR.
    pub fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let split = |name: &str| CocoSet::write(&folder.path().join(name));
        let (train, val) = (split("train"), split("val"));
        for image in val.images() {
            append(&image, b"of val");
        }
        let config = folder.path().join("config.yaml");
        let (train_images, train_file) = (train.images.display(), train.annotations.display());
        let (val_images, val_file) = (val.images.display(), val.annotations.display());
        let yaml = format!(
            "model:\n  model_name: {}\n  task_type: detection\n\
             data:\n  train_data_path: {train_images}\n  train_annotation_file: {train_file}\n  \
             val_data_path: {val_images}\n  val_annotation_file: {val_file}\n  num_workers: 2\n\
             training:\n  use_gpu: false\n",
            fixture("golden/detr").display(),
        );
        std::fs::write(&config, yaml).unwrap();
        Bench {
            folder,
            train,
            val,
            config,
        }
    }

    /// A path in the test's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `cvhost data COMMAND --config …` without the user's caches.
    pub fn data(&self, subcommand: &str, arguments: &[&str]) -> Run {
        let home = self.path("hf-home");
        data(&home, subcommand, &self.config, arguments)
    }
}

/// `cvhost data COMMAND --config CONFIG …` in the checkout.
pub fn data(home: &Path, subcommand: &str, config: &Path, arguments: &[&str]) -> Run {
    let mut command = cvhost();
    command
        .env("HF_HOME", home)
        .current_dir(root())
        .args(["data", subcommand, "--config"])
        .arg(config)
        .args(arguments);
    Run::of(&mut command)
}

/// Appends bytes after the end of a PNG, where no decoder reads.
pub fn append(file: &Path, bytes: &[u8]) {
    let all = [&std::fs::read(file).unwrap()[..], bytes].concat();
    std::fs::write(file, all).unwrap();
}

/// Rewrites a JSON file.
pub fn edit_json(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(file, value.to_string()).unwrap();
}

/// The `data_problem` events of a kind.
pub fn findings<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|e| e["event"] == "data_problem" && e["kind"] == kind)
        .collect()
}

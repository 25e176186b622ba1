//! The toy plugin of `tests/plugins/toy`, built as a third party would build it, and runs with it.

use crate::programs::{cargo, target};
use crate::third_party::{self, Setup};
use serde_json::json;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// The built plugin, outside the build folder, where every `cvhost` of this checkout would find it.
pub fn plugin() -> PathBuf {
    third_party::built("toy_plugin")
}

/// `cargo build` of a package that isn't a member of the workspace, into the workspace's target
/// folder.
pub fn build(folder: &Path) {
    build_into(folder, &target());
}

/// Like [`build`], but the final artifacts go to `products/debug`; only intermediate ones go to the
/// workspace's target folder.
pub fn build_into(folder: &Path, products: &Path) {
    let output = cargo()
        .args(["build", "--offline", "--target-dir"])
        .arg(products)
        // Supported since cargo 1.91; older versions recompile the dependencies in `products`.
        .env("CARGO_BUILD_BUILD_DIR", target())
        .arg("--manifest-path")
        .arg(folder.join("Cargo.toml"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{} failed to build:\n{stderr}",
        folder.display()
    );
}

/// A folder with everything a run of the toy task needs.
pub struct Toy(Setup);

impl Toy {
    pub fn new() -> Toy {
        let model = json!({"model_type": "toy-columns", "grid": 2});
        Toy(Setup::new(&plugin(), &model, yaml))
    }
}

impl Deref for Toy {
    type Target = Setup;

    fn deref(&self) -> &Setup {
        &self.0
    }
}

impl Default for Toy {
    fn default() -> Self {
        Toy::new()
    }
}

fn yaml(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "model:
  model_name: {folder}/model
  task_type: halves
  pretrained: false
data:
  train_data_path: {folder}
  val_data_path: {folder}
  pictures: 64
  batch_size: 8
  augment: false
training:
  max_epochs: 3
  learning_rate: 0.05
  monitor_metric: val_accuracy
output:
  results_dir: {folder}/results
"
    )
}

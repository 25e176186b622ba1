//! The toy plugin of `tests/plugins/toy`, built as a third party builds one, and runs with it.

use crate::programs::{Run, bare_programs, cvhost_in, plugins_in, target};
use crate::root;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The built plugin, alone in its folder.
///
/// It is moved out of the folder of the build, where every `cvhost` of this checkout would find it.
pub fn plugin() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = root().join("tests/plugins/toy");
        // With the workspace's lock and target folder, most dependencies are those that are built already.
        std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
        let plugin = target().join("tmp/toy/libtoy_plugin.so");
        build(&folder);
        std::fs::create_dir_all(plugin.parent().unwrap()).unwrap();
        std::fs::rename(target().join("debug/libtoy_plugin.so"), &plugin).unwrap();
        plugin
    })
}

/// `cargo build` of a package that is no member of the workspace, into the workspace's target folder. Run from within the
/// checkout, so that cargo's configuration for libtorch counts.
pub fn build(folder: &Path) {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--target-dir"])
        .arg(target())
        .arg("--manifest-path")
        .arg(folder.join("Cargo.toml"))
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{} does not build:\n{stderr}",
        folder.display()
    );
}

/// A folder with all that a run of the toy task needs, and programs that see the toy plugin and the jsonl logger only.
pub struct Toy {
    pub folder: tempfile::TempDir,
    programs: PathBuf,
    pub plugins: PathBuf,
    pub config: PathBuf,
}

impl Toy {
    pub fn new() -> Toy {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let programs = bare_programs(path);
        let plugins = plugins_in(&path.join("own"), &["logger_jsonl"]);
        std::fs::copy(plugin(), plugins.join("libtoy_plugin.so")).unwrap();
        let model = path.join("model");
        std::fs::create_dir(&model).unwrap();
        std::fs::write(
            model.join("config.json"),
            json!({"model_type": "toy-columns", "grid": 2}).to_string(),
        )
        .unwrap();
        let config = path.join("config.yaml");
        std::fs::write(&config, yaml(path)).unwrap();
        Toy {
            programs,
            plugins,
            config,
            folder,
        }
    }

    /// `cvhost --plugins-dir … --json` with arguments.
    pub fn cvhost(&self, arguments: &[&str]) -> Run {
        let mut command = cvhost_in(&self.programs);
        command
            .arg("--plugins-dir")
            .arg(&self.plugins)
            .args(["--json", "--device", "cpu"]);
        Run::of(command.args(arguments).current_dir(self.folder.path()))
    }

    /// `cvhost run` with overrides.
    pub fn train(&self, more: &[&str]) -> Run {
        self.cvhost(&[&["run", "--config", self.config.to_str().unwrap()], more].concat())
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

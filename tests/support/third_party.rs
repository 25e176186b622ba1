//! Plugins built from their own workspace, `tests/plugins`, as a third party would build them, and
//! runs with one of them.

use crate::programs::{Run, bare_programs, cvhost_in, plugins_in, target};
use crate::{root, toy};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A built plugin by its library name, such as `toy_plugin`.
///
/// It is never placed in the build folder, where every `cvhost` of this checkout would find it.
pub fn built(name: &str) -> PathBuf {
    static PRODUCTS: OnceLock<PathBuf> = OnceLock::new();
    let products = PRODUCTS.get_or_init(|| {
        let folder = root().join("tests/plugins");
        // With the workspace's lock file and build directory, the dependencies are already built.
        std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
        let products = target().join("tmp/third-party");
        toy::build_into(&folder, &products);
        products.join("debug")
    });
    products.join(format!("lib{name}.so"))
}

/// A folder with everything a run needs, and programs that see only one plugin and the jsonl
/// logger.
pub struct Setup {
    pub folder: tempfile::TempDir,
    programs: PathBuf,
    pub plugins: PathBuf,
    pub config: PathBuf,
}

impl Setup {
    /// `model` becomes `config.json` in the folder `model`; `yaml` returns the configuration, given
    /// the setup's folder.
    pub fn new(plugin: &Path, model: &Value, yaml: impl FnOnce(&Path) -> String) -> Setup {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let programs = bare_programs(path);
        let plugins = plugins_in(&path.join("own"), &["logger_jsonl"]);
        std::fs::copy(plugin, plugins.join(plugin.file_name().unwrap())).unwrap();
        std::fs::create_dir(path.join("model")).unwrap();
        std::fs::write(path.join("model/config.json"), model.to_string()).unwrap();
        let config = path.join("config.yaml");
        std::fs::write(&config, yaml(path)).unwrap();
        Setup {
            programs,
            plugins,
            config,
            folder,
        }
    }

    /// `cvhost --plugins-dir … --json` with arguments.
    pub fn cvhost(&self, arguments: &[&str]) -> Run {
        self.for_people(&[&["--json"], arguments].concat())
    }

    /// Like [`Setup::cvhost`], but without `--json`.
    pub fn for_people(&self, arguments: &[&str]) -> Run {
        let mut command = cvhost_in(&self.programs);
        command.arg("--plugins-dir").arg(&self.plugins);
        command.args(["--device", "cpu"]).args(arguments);
        Run::of(command.current_dir(self.folder.path()))
    }

    /// `cvhost run` with overrides.
    pub fn train(&self, more: &[&str]) -> Run {
        self.cvhost(&[&["run", "--config", self.config.to_str().unwrap()], more].concat())
    }
}

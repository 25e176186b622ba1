//! The built programs and plugins.

use crate::root;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The folder with the programs and plugins of the workspace. `cargo test` alone doesn't build
/// cdylibs, so the first call builds what is missing.
pub fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        // `cargo xtask test` has built everything, with the features that tests enable; a build
        // without them would recompile much of it.
        if std::env::var_os("CVHOST_BUILT").is_some() {
            return target().join("debug");
        }
        let status = cargo()
            .args(["build", "--workspace", "--quiet"])
            .status()
            .unwrap();
        assert!(status.success(), "cargo build --workspace failed");
        target().join("debug")
    })
}

/// Cargo as a user calls it, in the checkout: without the variables that the cargo running the
/// tests sets about their package. The build scripts of some dependencies watch those, so they
/// would rerun and everything that depends on them would be rebuilt.
pub fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_str().is_some_and(of_package)) {
        command.env_remove(name);
    }
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// File of a workspace plugin, such as `task_detection`.
pub fn plugin(name: &str) -> PathBuf {
    built().join(format!("libcvhost_{name}.so"))
}

/// Creates a folder with copies of the named plugins and no others.
pub fn plugins_in(folder: &Path, names: &[&str]) -> PathBuf {
    let plugins = folder.join("plugins");
    std::fs::create_dir_all(&plugins).unwrap();
    for name in names {
        let file = plugin(name);
        std::fs::copy(&file, plugins.join(file.file_name().unwrap())).unwrap();
    }
    plugins
}

/// `cvhost` from the folder `programs`, in a user's environment: it finds libtorch by itself.
pub fn cvhost_in(programs: &Path) -> Command {
    let mut command = Command::new(programs.join("cvhost"));
    command
        .env_remove("LD_LIBRARY_PATH")
        .env_remove("CVHOST_PLUGIN_PATH")
        .env("LIBTORCH", root().join(".libtorch"))
        .env("XDG_DATA_HOME", programs.join("no-user-data"))
        .env("NO_COLOR", "1")
        // Several processes share few cores here: threads that spin while waiting would slow each
        // other down.
        .env("OMP_WAIT_POLICY", "passive")
        .stdin(Stdio::null());
    command
}

/// `cvhost` from the build folder, which also holds the plugins.
pub fn cvhost() -> Command {
    cvhost_in(built())
}

/// Creates a folder with the two programs and no plugins next to them.
pub fn bare_programs(folder: &Path) -> PathBuf {
    let bin = folder.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    for name in ["cvhost", "cvhost-engine"] {
        // A hard link where possible: the engine is large.
        let (from, to) = (built().join(name), bin.join(name));
        std::fs::hard_link(&from, &to)
            .or_else(|_| std::fs::copy(&from, &to).map(|_| ()))
            .unwrap();
    }
    bin
}

/// Exit code and output of a finished command.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(command: &mut Command) -> Run {
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        Run {
            code: status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Fails the test and prints all output unless the command succeeded.
    pub fn success(self) -> Run {
        assert_eq!(self.code, 0, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Parses every line of stdout as JSON: with `--json` there is nothing else, and each has
    /// `schema` and `event`.
    pub fn events(&self) -> Vec<Value> {
        let lines = self.stdout.lines().map(|line| {
            let value: Value =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}"));
            assert_eq!(value["schema"], 1, "{line}");
            assert!(value["event"].is_string(), "{line}");
            value
        });
        lines.collect()
    }

    pub fn last_event(&self) -> Value {
        self.events()
            .pop()
            .unwrap_or_else(|| panic!("no event; stderr:\n{}", self.stderr))
    }
}

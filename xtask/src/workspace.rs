//! The build outputs of the workspace, as reported by cargo.

use crate::sh;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::PathBuf;

/// The programs that users run.
pub const PROGRAMS: [&str; 2] = ["cvhost", "cvhost-engine"];

pub struct Workspace {
    /// The output folder of the only build profile, e.g. `target/debug`.
    pub built: PathBuf,
    /// cargo's target folder, e.g. `target`.
    pub target: PathBuf,
    /// File names of all cdylibs, sorted, e.g. `libcvhost_task_detection.so`.
    pub plugins: Vec<String>,
}

impl Workspace {
    /// # Errors
    /// If `cargo metadata` fails, e.g. because a manifest doesn't parse.
    pub fn load() -> Result<Workspace> {
        let text = sh::output(&mut sh::cargo(["metadata", "--no-deps", "--format-version", "1"]))?;
        let metadata: Value =
            serde_json::from_str(&text).context("the output of cargo metadata is not JSON")?;
        let target = metadata["target_directory"]
            .as_str()
            .context("cargo metadata has no target_directory")?;
        let target = PathBuf::from(target);
        Ok(Workspace {
            built: target.join("debug"),
            target,
            plugins: cdylibs(&metadata),
        })
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.built.join(name)
    }
}

fn cdylibs(metadata: &Value) -> Vec<String> {
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> = array(&metadata["packages"])
        .iter()
        .flat_map(|package| array(&package["targets"]))
        .filter(|target| array(&target["crate_types"]).iter().any(|kind| kind == "cdylib"))
        .filter_map(|target| {
            target["name"]
                .as_str()
                .map(|name| format!("lib{}.so", name.replace('-', "_")))
        })
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cdylibs_are_plugins() {
        let metadata = serde_json::json!({"packages": [
            {"targets": [{"name": "cvhost-b", "crate_types": ["cdylib"]}]},
            {"targets": [{"name": "shared", "crate_types": ["lib"]}, {"name": "program", "crate_types": ["bin"]}]},
            {"targets": [{"name": "a", "crate_types": ["rlib", "cdylib"]}]},
        ]});
        assert_eq!(cdylibs(&metadata), ["liba.so", "libcvhost_b.so"]);
    }
}

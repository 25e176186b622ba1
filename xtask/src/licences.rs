//! Runs cargo-deny with deny.toml: banned crates, licences, sources. Advisories are omitted because
//! they need the network.

use crate::sh;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// The version to install if there is none.
const VERSION: &str = "0.20.2";

/// # Errors
/// If cargo-deny can't be installed, or finds something that deny.toml doesn't allow.
pub fn check(workspace: &Workspace) -> Result<()> {
    let mut deny = Command::new(find_or_install(workspace)?);
    deny.args([
        "--all-features",
        "--locked",
        "check",
        "bans",
        "licenses",
        "sources",
    ])
    .current_dir(sh::root());
    sh::run(&mut deny)
}

/// The cargo-deny in PATH, or the one in `target/tools`, which is built if missing.
fn find_or_install(workspace: &Workspace) -> Result<PathBuf> {
    if sh::version_of("cargo-deny", &["--version"]).is_some() {
        return Ok("cargo-deny".into());
    }
    let tools = workspace.target.join("tools");
    let program = tools.join("bin/cargo-deny");
    if !program.is_file() {
        // Unoptimised, which halves the build time; it has little to do here. Its own build folder
        // is next to it, because cargo's default is /tmp, which may be small.
        let build = tools.join("build");
        let mut install = sh::cargo([
            "install",
            "cargo-deny",
            "--debug",
            "--locked",
            "--version",
            VERSION,
            "--root",
        ]);
        install.arg(&tools).arg("--target-dir").arg(&build);
        sh::run(&mut install)
            .context("cargo-deny, which is needed to check the licences, could not be installed")?;
        // Removes a gigabyte of build files that are no longer needed.
        let _ = std::fs::remove_dir_all(&build);
    }
    Ok(program)
}

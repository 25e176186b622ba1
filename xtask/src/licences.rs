//! Runs cargo-deny over deny.toml: banned crates, licences, sources. Advisories need the network and are left out.

use crate::sh;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// The version that is installed where there is none.
const VERSION: &str = "0.20.2";

/// # Errors
/// When cargo-deny can't be installed, or finds something that deny.toml does not allow.
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

/// The cargo-deny in PATH, or one in `target/tools`, which is built when it isn't there.
fn find_or_install(workspace: &Workspace) -> Result<PathBuf> {
    if sh::version_of("cargo-deny", &["--version"]).is_some() {
        return Ok("cargo-deny".into());
    }
    let tools = workspace.target.join("tools");
    let program = tools.join("bin/cargo-deny");
    if !program.is_file() {
        // Unoptimised: that halves the time to build it, and it has little to do here. Its own build folder lies beside it:
        // cargo's default is /tmp, which may be small.
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
            .context("cargo-deny is needed to check the licences and could not be installed")?;
        // A gigabyte that nothing needs any more.
        let _ = std::fs::remove_dir_all(&build);
    }
    Ok(program)
}

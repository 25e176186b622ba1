//! `cargo xtask abi-snapshot`: compares the layout of the plugin interface with the recorded one.

use crate::sh;
use anyhow::{Result, bail};

/// Runs the comparison test; with `--update`, first writes `plugin-api/abi.txt`.
///
/// # Errors
/// If the layout differs, or a version has no line in the changelog.
pub fn run(arguments: &[&str]) -> Result<()> {
    let update = match arguments {
        [] => false,
        ["--update"] => true,
        _ => bail!("usage: cargo xtask abi-snapshot [--update]"),
    };
    let mut test = sh::cargo(["test", "--package", "cvhost-plugin-api", "--test", "abi_snapshot"]);
    if update {
        test.env("CVHOST_UPDATE_ABI", "1");
    }
    sh::run(&mut test)
}

//! A Python with the reference implementations, if there is one.

use std::path::PathBuf;
use std::process::Command;

/// A Python that can import all of `modules`: `CVHOST_TEST_PYTHON`, or `python3`.
pub fn with(modules: &[&str]) -> Result<PathBuf, String> {
    let python =
        std::env::var_os("CVHOST_TEST_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let script = format!("import {}", modules.join(", "));
    let run = command(&python).args(["-c", &script]).output();
    match run {
        Ok(output) if output.status.success() => Ok(python),
        Ok(_) => Err(format!(
            "{} lacks one of {}; set CVHOST_TEST_PYTHON to a Python that has them",
            python.display(),
            modules.join(", ")
        )),
        Err(e) => Err(format!("{}: {e}", python.display())),
    }
}

/// Like [`with`], but reports the test as skipped if there is none.
pub fn or_skip(test: &str, modules: &[&str]) -> Option<PathBuf> {
    with(modules).inspect_err(|reason| crate::skip(test, reason)).ok()
}

/// Runs a script and returns its stdout; fails the test if the script fails.
#[allow(clippy::panic, clippy::unwrap_used)]
pub fn run(python: &PathBuf, script: &str, arguments: &[&str]) -> String {
    let output = command(python)
        .arg("-c")
        .arg(script)
        .args(arguments)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A command without `LD_LIBRARY_PATH`: Python's torch brings its own libraries.
fn command(python: &PathBuf) -> Command {
    let mut command = Command::new(python);
    command.env_remove("LD_LIBRARY_PATH").env("HF_HUB_OFFLINE", "1");
    command
}

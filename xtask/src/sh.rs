//! Runs other programs.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root folder of the repository.
pub fn root() -> PathBuf {
    // cargo sets the variable for `cargo run`; the compiled-in value is for a binary that is run
    // directly.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .filter(|dir| Path::new(dir).join("src/sh.rs").is_file())
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or(package.clone(), Path::to_path_buf)
}

/// A cargo command of the toolchain that runs xtask, in the root folder, without the variables that
/// `cargo run` sets for xtask's own package: the build scripts of some dependencies depend on them,
/// and would be rerun after a plain `cargo build`.
pub fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_str().is_some_and(of_package)) {
        command.env_remove(name);
    }
    command.args(args).current_dir(root());
    command
}

/// Prints the command and runs it on this terminal.
///
/// # Errors
/// If it can't be started or doesn't exit with status 0.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", display(command));
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", display(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", display(command));
    }
    Ok(())
}

/// The standard output of a command; its standard error goes to the terminal.
///
/// # Errors
/// If it can't be started, doesn't exit with status 0, or its output isn't UTF-8.
pub fn output(command: &mut Command) -> Result<String> {
    let out = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", display(command)))?;
    if !out.status.success() {
        bail!("`{}` failed ({})", display(command), out.status);
    }
    String::from_utf8(out.stdout)
        .with_context(|| format!("the output of `{}` is not UTF-8 text", display(command)))
}

/// The first line of a program's version output; `None` if it can't be run.
pub fn version_of(program: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    if !out.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&out.stdout);
    Some(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// The command as it would be typed: the program's name without its folder, then the arguments.
pub fn display(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy();
    let mut line = name.into_owned();
    for arg in command.get_args() {
        let arg = arg.to_string_lossy();
        line.push(' ');
        // Scripts passed with -c aren't interesting to the reader.
        line.push_str(if arg.contains('\n') { "…" } else { &arg });
    }
    line
}

//! Commands that need libtorch: the launcher locates it and executes the engine.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

use cvhost::error::{Error, Result};
use cvhost::libtorch;

/// File name of the engine, which is next to this program.
pub const ENGINE: &str = "cvhost-engine";

/// cuBLAS reads it at start-up; without it `training.deterministic` is refused on a GPU. A value
/// set by the user is kept.
const CUBLAS_WORKSPACE: &str = "CUBLAS_WORKSPACE_CONFIG";

/// Replaces this process with the engine, passing the same arguments. Returns only on error.
pub fn exec() -> Result<()> {
    let engine = env::current_exe()
        .and_then(|exe| exe.canonicalize())
        .map_err(|e| Error::environment(format!("cannot locate this program: {e}")))?
        .with_file_name(ENGINE);
    if !engine.is_file() {
        return Err(Error::environment(format!("{} does not exist", engine.display()))
            .with_expected("the engine next to `cvhost`")
            .with_help("copy both programs; in a checkout `cargo build --workspace` builds both"));
    }
    let libtorch = libtorch::find()?;
    let mut command = Command::new(&engine);
    command
        .args(env::args_os().skip(1))
        .env("LD_LIBRARY_PATH", libtorch.library_path());
    if env::var_os(CUBLAS_WORKSPACE).is_none() {
        command.env(CUBLAS_WORKSPACE, ":4096:8");
    }
    let error = command.exec();
    Err(Error::environment(format!(
        "cannot start {}: {error}",
        engine.display()
    )))
}

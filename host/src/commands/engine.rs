//! Everything that needs libtorch: the launcher finds it and becomes the engine.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

use cvhost::error::{Error, Result};
use cvhost::libtorch;

/// The engine's program, beside this one.
pub const ENGINE: &str = "cvhost-engine";

/// cuBLAS reads it when it starts; without it `training.deterministic` is refused on a GPU. A user's own value wins.
const CUBLAS_WORKSPACE: &str = "CUBLAS_WORKSPACE_CONFIG";

/// Replaces this program by the engine with the same arguments. Comes back only with an error.
pub fn exec() -> Result<()> {
    let engine = env::current_exe()
        .and_then(|exe| exe.canonicalize())
        .map_err(|e| Error::environment(format!("cannot tell where this program is: {e}")))?
        .with_file_name(ENGINE);
    if !engine.is_file() {
        return Err(Error::environment(format!("there is no {}", engine.display()))
            .with_expected("the engine's program beside `cvhost`")
            .with_help("copy both programs; in a checkout `cargo build --workspace` makes both"));
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

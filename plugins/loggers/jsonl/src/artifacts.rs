//! Stores artifacts in the run folder.

use crate::files::{create_folder, io_error, safe_name};
use cvhost_plugin_api::{PluginError, Result};
use std::path::{Path, PathBuf};

/// The path of a file or folder relative to the run folder; `None` if it is outside. It doesn't
/// have to exist.
pub fn inside(run: &Path, path: &Path) -> Option<String> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let found = path
        .strip_prefix(run)
        .map(Path::to_owned)
        .or_else(|_| real(path).strip_prefix(real(run)).map(Path::to_owned));
    found.ok().map(|inside| inside.to_string_lossy().into_owned())
}

/// Returns the artifact's path relative to the run folder. One outside of it is first copied to
/// `artifacts/<name>`.
pub fn bring_in(run: &Path, path: &Path, name: &str) -> Result<String> {
    let real = path
        .canonicalize()
        .map_err(|e| io_error("find the artifact", path, &e))?;
    let real_run = run
        .canonicalize()
        .map_err(|e| io_error("find the run folder", run, &e))?;
    if let Ok(inside) = real.strip_prefix(&real_run) {
        return Ok(inside.to_string_lossy().into_owned());
    }
    let own_name = real
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let inside = Path::new("artifacts").join(safe_name(if name.is_empty() { &own_name } else { name }));
    let target = run.join(&inside);
    if let Some(folder) = target.parent() {
        create_folder(folder)?;
    }
    if real.is_dir() {
        copy_folder(&real, &target, &real_run)?
    } else {
        copy_file(&real, &target)?
    }
    Ok(inside.to_string_lossy().into_owned())
}

/// Copies to a temporary name first, so that an interrupted copy isn't mistaken for the file.
fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let mut new = to.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    std::fs::copy(from, &new).map_err(|e| io_error("copy the artifact to", &new, &e))?;
    std::fs::rename(&new, to).map_err(|e| io_error("replace", to, &e))
}

fn copy_folder(from: &Path, to: &Path, run: &Path) -> Result<()> {
    if run.starts_with(from) {
        let message = format!("the artifact {} contains the run folder itself", from.display());
        return Err(PluginError::failed(message).with_help(
            "log a folder that doesn't contain the \
            run folder",
        ));
    }
    create_folder(to)?;
    let failed = |e: std::io::Error| io_error("list the artifact", from, &e);
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        // Links inside are skipped: they could form cycles.
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            copy_folder(&source, &target, run)?;
        } else if kind.is_file() {
            copy_file(&source, &target)?;
        }
    }
    Ok(())
}

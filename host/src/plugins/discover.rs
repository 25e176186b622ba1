//! The search path for plugin files.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// Why a folder is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `--plugin-file`; only that file.
    PluginFile,
    /// `--plugins-dir`.
    PluginsDir,
    /// `CVHOST_PLUGIN_PATH`.
    Environment,
    /// `plugins/` next to the program, or next to its `bin/`.
    Installed,
    /// The build folder of a checkout, which contains programs and plugins as well as other
    /// libraries.
    Build,
    /// The user's data folder.
    User,
}

impl Origin {
    /// The name shown in listings.
    pub fn name(self) -> &'static str {
        match self {
            Origin::PluginFile => "--plugin-file",
            Origin::PluginsDir => "--plugins-dir",
            Origin::Environment => "CVHOST_PLUGIN_PATH",
            Origin::Installed => "beside the program",
            Origin::Build => "the build folder",
            Origin::User => "the user's data folder",
        }
    }
}

/// A folder of plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    pub path: PathBuf,
    pub origin: Origin,
    pub exists: bool,
}

/// The files and folders to search, in order of precedence.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// `--plugin-file`, before any folder.
    pub files: Vec<PathBuf>,
    pub folders: Vec<Folder>,
}

impl Search {
    /// The default search path of this program, with `--plugins-dir` first.
    pub fn usual(plugins_dirs: &[PathBuf], files: &[PathBuf]) -> Self {
        let program = env::current_exe().ok().and_then(|exe| exe.canonicalize().ok());
        let program = program.as_deref().and_then(Path::parent);
        Search {
            files: files.to_vec(),
            folders: folders(plugins_dirs, program),
        }
    }
}

/// The folders in order: `--plugins-dir`, `CVHOST_PLUGIN_PATH`, next to the program (whose folder
/// is `program`), the user's data folder. Duplicates are dropped.
pub fn folders(plugins_dirs: &[PathBuf], program: Option<&Path>) -> Vec<Folder> {
    let mut wanted: Vec<(PathBuf, Origin)> = plugins_dirs
        .iter()
        .map(|p| (p.clone(), Origin::PluginsDir))
        .collect();
    if let Some(paths) = env::var_os("CVHOST_PLUGIN_PATH") {
        wanted.extend(
            env::split_paths(&paths)
                .filter(|p| !p.as_os_str().is_empty())
                .map(|p| (p, Origin::Environment)),
        );
    }
    if let Some(program) = program {
        wanted.push((program.join("plugins"), Origin::Installed));
        if program.file_name().is_some_and(|name| name == "bin")
            && let Some(root) = program.parent()
        {
            wanted.push((root.join("plugins"), Origin::Installed));
        }
        if program.join("deps").is_dir() {
            wanted.push((program.to_path_buf(), Origin::Build));
        }
    }
    let data = env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|p| p.is_absolute());
    let data = data.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".local/share")));
    wanted.extend(data.map(|data| (data.join("cvhost/plugins"), Origin::User)));

    let mut seen = HashSet::new();
    wanted.retain(|(path, _)| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
    wanted
        .into_iter()
        .map(|(path, origin)| Folder {
            exists: path.is_dir(),
            path,
            origin,
        })
        .collect()
}

/// The `.so` files of a folder, sorted by name.
///
/// # Errors
/// If the folder can't be read.
pub fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let cannot = |e: &std::io::Error| Error::io(Kind::Environment, "list the plugin folder", folder, e);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| cannot(&e))? {
        let path = entry.map_err(|e| cannot(&e))?.path();
        if path.extension().is_some_and(|e| e == "so") && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

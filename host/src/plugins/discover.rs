//! Where plugin files are looked for.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// Why a folder is looked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `--plugin-file`; the folder holds just that file.
    PluginFile,
    /// `--plugins-dir`.
    PluginsDir,
    /// `CVHOST_PLUGIN_PATH`.
    Environment,
    /// `plugins/` beside the program, or beside its `bin/`.
    Installed,
    /// The folder that a checkout's build puts both programs and plugins in. Other libraries lie there too.
    Build,
    /// The user's data folder.
    User,
}

impl Origin {
    /// For listings.
    pub fn name(self) -> &'static str {
        match self {
            Origin::PluginFile => "--plugin-file",
            Origin::PluginsDir => "--plugins-dir",
            Origin::Environment => "CVHOST_PLUGIN_PATH",
            Origin::Installed => "beside the program",
            Origin::Build => "the build's folder",
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

/// What to look through, first hit first.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// `--plugin-file`, before any folder.
    pub files: Vec<PathBuf>,
    pub folders: Vec<Folder>,
}

impl Search {
    /// The usual places of this program, `--plugins-dir` first.
    pub fn usual(plugins_dirs: &[PathBuf], files: &[PathBuf]) -> Self {
        let program = env::current_exe().ok().and_then(|exe| exe.canonicalize().ok());
        let program = program.as_deref().and_then(Path::parent);
        Search {
            files: files.to_vec(),
            folders: folders(plugins_dirs, program),
        }
    }
}

/// The folders in their order: `--plugins-dir`, `CVHOST_PLUGIN_PATH`, beside the program (its folder is `program`), the user's
/// data folder. A folder that stands twice counts once.
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
/// When the folder can't be read.
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

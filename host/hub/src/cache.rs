//! The Hugging Face hub cache on disk:
//!
//! ```text
//! models--OWNER--NAME/blobs/ETAG                    a file's bytes
//!                     snapshots/COMMIT/FILE  ->     ../../blobs/ETAG
//!                     refs/REVISION                 the commit of a branch or tag
//! ```

use crate::HubId;
use crate::HubOptions;
use crate::client::Failure;
use crate::layout::{self, CONFIG, WEIGHTS, WEIGHTS_INDEX};
use cvhost::atomic::{self, temporary_beside};
use cvhost::error::{Error, Kind, Result};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Partial files of other processes are deleted after this time.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// The cache of one repository.
pub struct Cache {
    folder: PathBuf,
    revision: String,
}

impl Cache {
    pub fn new(options: &HubOptions, id: &HubId) -> Cache {
        let folder = options
            .cache
            .join(format!("models--{}", id.repository.replace('/', "--")));
        Cache {
            folder,
            revision: id.revision.clone(),
        }
    }

    pub fn place(&self) -> &Path {
        &self.folder
    }

    pub fn snapshot_folder(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The snapshot of the revision as of the last download, with its commit, if all its files are
    /// present.
    pub fn snapshot(&self) -> Option<(PathBuf, String)> {
        let commit = match fs::read_to_string(self.folder.join("refs").join(&self.revision)) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) => self.revision.clone(),
        };
        let path = self.snapshot_folder(&commit);
        (is_commit(&commit) && is_complete(&path)).then_some((path, commit))
    }

    /// The path of a file in a snapshot, if it exists.
    pub fn file(&self, commit: &str, name: &str) -> Option<PathBuf> {
        Some(self.snapshot_folder(commit).join(name)).filter(|p| p.is_file())
    }

    /// Whether the blob is cached, with this size if the size is known.
    pub fn has_blob(&self, etag: &str, size: Option<u64>) -> bool {
        let about = fs::metadata(self.blob(etag));
        about.is_ok_and(|a| a.is_file() && size.is_none_or(|s| s == a.len()))
    }

    /// Adds a blob that `fill` writes and verifies. It appears in the cache complete, or not at
    /// all.
    pub fn add_blob(
        &self,
        etag: &str,
        fill: impl FnOnce(&mut File) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let blob = self.blob(etag);
        let blobs = self.folder.join("blobs");
        fs::create_dir_all(&blobs).map_err(|e| cannot_write(&blobs, &e))?;
        atomic::sweep(&blobs, ABANDONED);
        let temporary = temporary_beside(&blob)?;
        let mut file = File::create(&temporary.0).map_err(|e| cannot_write(&temporary.0, &e))?;
        fill(&mut file)?;
        file.sync_all().map_err(|e| cannot_write(&blob, &e))?;
        fs::rename(&temporary.0, &blob).map_err(|e| cannot_write(&blob, &e))?;
        Ok(())
    }

    /// Links a blob into a snapshot and returns the path of the link.
    pub fn link(&self, commit: &str, name: &str, etag: &str) -> Result<PathBuf> {
        let folder = self.snapshot_folder(commit);
        fs::create_dir_all(&folder).map_err(|e| cannot_write(&folder, &e))?;
        let path = folder.join(name);
        let target = Path::new("../../blobs").join(etag);
        if atomic::replace_link(&path, &target).is_err() {
            // On a file system without links, a copy is put in place atomically instead.
            let temporary = temporary_beside(&path)?;
            fs::copy(self.blob(etag), &temporary.0).map_err(|e| cannot_write(&path, &e))?;
            fs::rename(&temporary.0, &path).map_err(|e| cannot_write(&path, &e))?;
        }
        Ok(path)
    }

    /// Records the revision's commit, once the snapshot is complete.
    pub fn remember(&self, commit: &str) -> Result<()> {
        if self.revision == commit {
            return Ok(());
        }
        atomic::replace_file(&self.folder.join("refs").join(&self.revision), commit.as_bytes())
    }

    fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }
}

/// Whether `text` is a hexadecimal commit. Anything else must not become part of a path.
pub fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether a snapshot has a configuration and all its weights. A snapshot with only pickled weights
/// counts as complete: opening it reports them.
fn is_complete(path: &Path) -> bool {
    if !path.join(CONFIG).is_file() {
        return false;
    }
    if path.join(WEIGHTS).is_file() {
        return true;
    }
    if path.join(WEIGHTS_INDEX).is_file() {
        return layout::read_index(&path.join(WEIGHTS_INDEX))
            .is_ok_and(|shards| shards.iter().all(|(_, file)| path.join(file).is_file()));
    }
    let names = fs::read_dir(path).into_iter().flatten().flatten();
    names
        .into_iter()
        .any(|e| layout::is_pickle(&e.file_name().to_string_lossy()))
}

fn cannot_write(path: &Path, error: &io::Error) -> Error {
    let error = Error::io(Kind::Environment, "write", path, error);
    error.with_help("free up disk space there, or set HF_HUB_CACHE to a writable folder")
}

//! The hub's cache on the disk:
//!
//! ```text
//! models--OWNER--NAME/blobs/ETAG                    a file's bytes
//!                     snapshots/COMMIT/FILE  ->     ../../blobs/ETAG
//!                     refs/REVISION                 the commit that a branch or tag was at
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

/// What another process left half-written is deleted after this time.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// One repository's part of the cache.
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

    /// The snapshot that the revision was at when it was last fetched, if all its files are there; and its commit.
    pub fn snapshot(&self) -> Option<(PathBuf, String)> {
        let commit = match fs::read_to_string(self.folder.join("refs").join(&self.revision)) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) => self.revision.clone(),
        };
        let path = self.snapshot_folder(&commit);
        (is_commit(&commit) && is_complete(&path)).then_some((path, commit))
    }

    /// A file of a snapshot, if it is there.
    pub fn file(&self, commit: &str, name: &str) -> Option<PathBuf> {
        Some(self.snapshot_folder(commit).join(name)).filter(|p| p.is_file())
    }

    /// Whether the bytes are there, with that size if it is known.
    pub fn has_blob(&self, etag: &str, size: Option<u64>) -> bool {
        let about = fs::metadata(self.blob(etag));
        about.is_ok_and(|a| a.is_file() && size.is_none_or(|s| s == a.len()))
    }

    /// Adds a blob that `fill` writes and verifies. It appears in the cache complete, or not at all.
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

    /// Makes a blob appear as a file of a snapshot; returns its path.
    pub fn link(&self, commit: &str, name: &str, etag: &str) -> Result<PathBuf> {
        let folder = self.snapshot_folder(commit);
        fs::create_dir_all(&folder).map_err(|e| cannot_write(&folder, &e))?;
        let path = folder.join(name);
        let target = Path::new("../../blobs").join(etag);
        if atomic::replace_link(&path, &target).is_err() {
            // A file system without links gets a copy, which takes its place in one step too.
            let temporary = temporary_beside(&path)?;
            fs::copy(self.blob(etag), &temporary.0).map_err(|e| cannot_write(&path, &e))?;
            fs::rename(&temporary.0, &path).map_err(|e| cannot_write(&path, &e))?;
        }
        Ok(path)
    }

    /// Notes that the revision is at this commit, now that the snapshot is whole.
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

/// Commits are hexadecimal; anything else must not become part of a path.
pub fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether a snapshot has a configuration and all its weights. One that only has pickled weights counts too: opening it
/// tells the user about those.
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
    error.with_help("free space there, or set HF_HUB_CACHE to a folder that you may write to")
}

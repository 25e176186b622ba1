//! Atomic creation of folders and files: temporary name, fsync, rename, fsync of the parent.
//!
//! Temporary names begin with a dot and encode their purpose, so that the leftovers of a killed
//! process can be recognised: `.NAME.tmp-PID-N` is being written or deleted, `.NAME.old-PID-N` was
//! moved aside for its replacement.

use crate::error::{Error, Kind, Result};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const TEMPORARY: &str = ".tmp-";
const ASIDE: &str = ".old-";

/// Creates the folder `dir` with the contents that `fill` writes into a temporary folder next to
/// it, or leaves everything unchanged. An existing folder at `dir` is replaced if it is empty or
/// contains one of the files `marks`; any other is refused.
pub fn replace_folder(dir: &Path, marks: &[&str], fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = parent_of(dir)?;
    fs::create_dir_all(&parent).map_err(|e| cannot_save("create the folder", &parent, &e))?;
    recover(dir)?;
    refuse_foreign_folder(dir, marks)?;
    let temporary = Temporary(sibling(dir, TEMPORARY)?);
    fs::create_dir(&temporary.0).map_err(|e| cannot_save("create the folder", &temporary.0, &e))?;
    fill(&temporary.0)?;
    sync_tree(&temporary.0)?;
    let aside = move_to(dir, ASIDE)?;
    if let Err(error) = fs::rename(&temporary.0, dir) {
        if let Some(aside) = &aside {
            // Restore the previous folder. If that fails too, `recover` does it on the next use.
            let _ = fs::rename(aside, dir);
        }
        return Err(cannot_save("move the finished checkpoint to", dir, &error));
    }
    sync_folder(&parent)?;
    if let Some(aside) = aside {
        remove_tree(&aside)?;
    }
    Ok(())
}

/// Deletes a folder. It is renamed to a temporary name first, so that leftovers of a killed process
/// count as half-written and are never restored.
pub fn remove_folder(dir: &Path) -> Result<()> {
    match move_to(dir, TEMPORARY)? {
        Some(doomed) => remove_tree(&doomed),
        None => Ok(()),
    }
}

/// Writes a file via a temporary one.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = parent_of(path)?;
    fs::create_dir_all(&parent).map_err(|e| cannot_save("create the folder", &parent, &e))?;
    let temporary = Temporary(sibling(path, TEMPORARY)?);
    fs::write(&temporary.0, bytes).map_err(|e| cannot_save("write", &temporary.0, &e))?;
    sync_file(&temporary.0)?;
    fs::rename(&temporary.0, path).map_err(|e| cannot_save("write", path, &e))?;
    sync_folder(&parent)
}

/// Atomically points the relative symbolic link `link` at `target`.
pub fn replace_link(link: &Path, target: &Path) -> Result<()> {
    let temporary = Temporary(sibling(link, TEMPORARY)?);
    std::os::unix::fs::symlink(target, &temporary.0).map_err(|e| cannot_save("create the link", link, &e))?;
    fs::rename(&temporary.0, link).map_err(|e| cannot_save("create the link", link, &e))
}

/// Cleans up what a killed process left in `parent`. A folder that was moved aside and has no
/// replacement is restored. Returns one line per action taken. Call it only where no other process
/// is saving.
pub fn clean(parent: &Path, mark: &str) -> Result<Vec<String>> {
    let mut actions = Vec::new();
    for (path, name, temporary) in leftovers(parent)? {
        let final_path = parent.join(name);
        if !temporary && !final_path.exists() && path.join(mark).is_file() {
            fs::rename(&path, &final_path).map_err(|e| cannot_save("restore", &final_path, &e))?;
            actions.push(format!(
                "restored {}, which an interrupted save had moved aside",
                final_path.display()
            ));
            continue;
        }
        remove_tree(&path)?;
        actions.push(format!("removed {}, left by an interrupted save", path.display()));
    }
    Ok(actions)
}

/// Deletes half-written leftovers of other processes in `parent` that are older than `age`;
/// anything that can't be deleted stays.
pub fn sweep(parent: &Path, age: Duration) {
    for (path, _, _) in leftovers(parent).unwrap_or_default() {
        let modified = fs::symlink_metadata(&path).and_then(|m| m.modified());
        if modified.is_ok_and(|m| m.elapsed().is_ok_and(|e| e > age)) {
            let _ = remove_tree(&path);
        }
    }
}

/// Restores `dir` if a save was killed after moving it aside and before putting its replacement
/// there.
fn recover(dir: &Path) -> Result<()> {
    if fs::symlink_metadata(dir).is_ok() {
        return Ok(());
    }
    let parent = parent_of(dir)?;
    for (path, name, temporary) in leftovers(&parent)? {
        if !temporary && dir.file_name().is_some_and(|n| n == name.as_str()) {
            return fs::rename(&path, dir).map_err(|e| cannot_save("restore", dir, &e));
        }
    }
    Ok(())
}

/// Leftovers in `parent`: path, intended name, and whether it is a temporary (otherwise it was
/// moved aside).
fn leftovers(parent: &Path) -> Result<Vec<(PathBuf, String, bool)>> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(Kind::Failed, "list", parent, &e)),
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        let Some(name) = file_name.to_str().and_then(|n| n.strip_prefix('.')) else {
            continue;
        };
        for (marker, temporary) in [(TEMPORARY, true), (ASIDE, false)] {
            let Some((name, number)) = name.rsplit_once(marker) else {
                continue;
            };
            if !name.is_empty() && number.split('-').all(|n| n.parse::<u64>().is_ok()) {
                found.push((entry.path(), name.to_owned(), temporary));
            }
        }
    }
    Ok(found)
}

/// Deletes the file or folder with this temporary name on drop; after a rename there is nothing to
/// delete.
pub struct Temporary(pub PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let Ok(about) = fs::symlink_metadata(&self.0) else {
            return;
        };
        let _ = if about.is_dir() {
            fs::remove_dir_all(&self.0)
        } else {
            fs::remove_file(&self.0)
        };
    }
}

/// A temporary name next to `path`, unique among the processes of this machine.
pub fn temporary_beside(path: &Path) -> Result<Temporary> {
    sibling(path, TEMPORARY).map(Temporary)
}

fn sibling(path: &Path, marker: &str) -> Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Ok(parent_of(path)?.join(format!(".{name}{marker}{}-{count}", std::process::id())))
}

fn parent_of(path: &Path) -> Result<PathBuf> {
    if path.file_name().is_none() {
        return Err(
            Error::usage(format!("`{}` cannot be a checkpoint folder", path.display()))
                .with_expected("a path that ends in a folder name"),
        );
    }
    Ok(match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    })
}

/// Only checkpoints are replaced, so that a mistyped path never deletes an unrelated folder.
fn refuse_foreign_folder(dir: &Path, marks: &[&str]) -> Result<()> {
    let Ok(about) = fs::symlink_metadata(dir) else {
        return Ok(());
    };
    let replaceable = about.is_dir()
        && (marks.iter().any(|name| dir.join(name).exists())
            || fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none()));
    if replaceable {
        return Ok(());
    }
    Err(Error::failed(format!(
        "{} exists and is not a checkpoint folder; it was left unchanged",
        dir.display()
    ))
    .with_help("choose another folder, or move this one away"))
}

/// Renames `dir` to a temporary name of this kind, if it exists.
fn move_to(dir: &Path, marker: &str) -> Result<Option<PathBuf>> {
    if fs::symlink_metadata(dir).is_err() {
        return Ok(None);
    }
    let moved = sibling(dir, marker)?;
    fs::rename(dir, &moved).map_err(|e| cannot_save("move aside the older", dir, &e))?;
    Ok(Some(moved))
}

fn remove_tree(path: &Path) -> Result<()> {
    let about = fs::symlink_metadata(path).map_err(|e| cannot_save("remove", path, &e))?;
    let removed = if about.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.map_err(|e| cannot_save("remove", path, &e))
}

/// Calls fsync on `dir` and on every file and folder below it.
fn sync_tree(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(|e| cannot_save("list", dir, &e))? {
        let entry = entry.map_err(|e| cannot_save("list", dir, &e))?;
        let kind = entry.file_type().map_err(|e| cannot_save("list", dir, &e))?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            sync_file(&entry.path())?;
        }
    }
    sync_folder(dir)
}

fn sync_file(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|f| f.sync_all())
        .map_err(|e| cannot_save("write", path, &e))
}

/// Calls fsync on a folder. Network file systems that report it as unsupported are tolerated.
fn sync_folder(dir: &Path) -> Result<()> {
    match File::open(dir).and_then(|f| f.sync_all()) {
        Ok(()) => Ok(()),
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        Err(e) => Err(cannot_save("write", dir, &e)),
    }
}

/// An I/O error while saving, with the note that earlier checkpoints are intact and what to do.
pub fn cannot_save(doing: &str, path: &Path, error: &io::Error) -> Error {
    let help = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space on that disk, or choose another folder; checkpoints saved before are untouched"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "choose a writable folder; checkpoints saved before are untouched"
        }
        _ => "checkpoints saved before are untouched",
    };
    Error::io(Kind::Failed, doing, path, error).with_help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_checkpoint(dir: &Path, text: &str) -> Result<()> {
        replace_folder(dir, &["config.json"], |temporary| {
            fs::write(temporary.join("config.json"), text).map_err(|e| cannot_save("write", temporary, &e))
        })
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_replaced_and_nothing_is_left_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a").join("model");
        write_checkpoint(&dir, "1").unwrap();
        write_checkpoint(&dir, "2").unwrap();
        assert_eq!(fs::read_to_string(dir.join("config.json")).unwrap(), "2");
        assert_eq!(names(&root.path().join("a")), ["model"]);
    }

    #[test]
    fn a_failed_save_keeps_the_old_folder_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("model");
        write_checkpoint(&dir, "1").unwrap();
        let error = replace_folder(&dir, &["config.json"], |temporary| {
            fs::write(temporary.join("config.json"), "half").unwrap();
            let full = io::Error::from(io::ErrorKind::StorageFull);
            Err(cannot_save("write", &temporary.join("model.safetensors"), &full))
        })
        .unwrap_err();
        assert!(error.to_string().contains("free space"), "{error}");
        assert_eq!(fs::read_to_string(dir.join("config.json")).unwrap(), "1");
        assert_eq!(names(root.path()), ["model"]);
    }

    #[test]
    fn an_unrelated_folder_is_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("holiday");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("photo.jpg"), "x").unwrap();
        let error = write_checkpoint(&dir, "1").unwrap_err();
        assert!(error.to_string().contains("not a checkpoint folder"), "{error}");
        assert_eq!(names(&dir), ["photo.jpg"]);
    }

    #[test]
    fn a_kill_between_the_two_renames_loses_nothing() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("model");
        write_checkpoint(&dir, "1").unwrap();
        fs::rename(&dir, root.path().join(".model.old-1-0")).unwrap();
        fs::create_dir(root.path().join(".model.tmp-1-1")).unwrap();
        fs::create_dir(root.path().join(".hidden")).unwrap();
        assert_eq!(clean(root.path(), "config.json").unwrap().len(), 2);
        assert_eq!(names(root.path()), [".hidden", "model"]);
        assert_eq!(fs::read_to_string(dir.join("config.json")).unwrap(), "1");

        fs::rename(&dir, root.path().join(".model.old-1-0")).unwrap();
        let failed = replace_folder(&dir, &["config.json"], |_| Err(Error::failed("killed")));
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(dir.join("config.json")).unwrap(), "1");
    }

    #[test]
    fn a_removed_folder_is_not_restored() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("model");
        write_checkpoint(&dir, "1").unwrap();
        remove_folder(&dir).unwrap();
        assert!(names(root.path()).is_empty());
        remove_folder(&dir).unwrap();

        // Nor after a kill in the middle of the removal.
        write_checkpoint(&dir, "1").unwrap();
        move_to(&dir, TEMPORARY).unwrap().unwrap();
        assert_eq!(clean(root.path(), "config.json").unwrap().len(), 1);
        assert!(names(root.path()).is_empty());
    }
}

//! The checkpoints of a run: the top k, the last one, and an optional second copy elsewhere.
//!
//! ```text
//! ROOT/epoch-003-step-000120/   a model folder, training_state/ and the marker
//! ROOT/best -> epoch-003-step-000120
//! ROOT/last -> epoch-004-step-000160
//! ```
//! The marker of a checkpoint holds its metric, so the ranking always reflects what is on disk.

use super::folder::{COMPLETE, MARKS};
use super::save::{ModelImage, write_json};
use super::state::StateImage;
use super::weights::Weights;
use cvhost::atomic::{self, cannot_save, remove_folder, replace_folder, replace_link};
use cvhost::config::MonitorMode;
use cvhost::error::{Error, Kind, Result};
use cvhost::plugins::digest;
use cvhost_hub::layout::{CONFIG, read_json};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const BEST: &str = "best";
const LAST: &str = "last";

/// When a checkpoint was created, and its metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stamp {
    /// Completed epochs.
    pub epoch: u64,
    /// Completed optimizer steps.
    pub step: u64,
    /// The monitored metric; `None` or a non-finite value ranks last.
    pub value: Option<f64>,
}

impl Stamp {
    /// The name of the checkpoint's folder.
    pub fn name(&self) -> String {
        format!("epoch-{:03}-step-{:06}", self.epoch, self.step)
    }
}

#[derive(Serialize, Deserialize)]
struct Marker {
    #[serde(flatten)]
    stamp: Stamp,
    /// The name of the metric in `value`; missing in older checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metric: Option<String>,
    /// Increases with every save into the same root.
    serial: u64,
    /// Every file by its path relative to the folder.
    files: BTreeMap<String, FileMark>,
}

/// Data to verify that a file is unchanged.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum FileMark {
    Hashed {
        bytes: u64,
        sha256: String,
    },
    /// The form used before hashes were stored.
    Bytes(u64),
}

/// Which checkpoints are retained.
#[derive(Debug, Clone)]
pub struct RetentionPolicy {
    /// The number of best checkpoints to retain; `None` for all. The last one is always retained.
    pub best: Option<usize>,
    /// The metric that they are ranked by.
    pub metric: String,
    pub mode: MonitorMode,
}

impl RetentionPolicy {
    /// From `training.save_top_k`, where -1 means all.
    pub fn top_k(k: i32, metric: &str, mode: MonitorMode) -> RetentionPolicy {
        RetentionPolicy {
            best: usize::try_from(k).ok(),
            metric: metric.to_owned(),
            mode,
        }
    }

    /// Whether a checkpoint was ranked by another metric than the present one, so that it can't be
    /// compared with the others.
    fn is_foreign(&self, found: &Found) -> bool {
        found.stamp.value.is_some() && found.metric.as_ref().is_some_and(|metric| *metric != self.metric)
    }

    /// The checkpoints that have a value, best first. Ties are broken in favour of the older one.
    fn ranked<'a>(&self, all: &'a [Found]) -> Vec<&'a Found> {
        let value = |found: &Found| found.stamp.value.filter(|v| v.is_finite());
        let scored = all.iter().filter(|f| value(f).is_some() && !self.is_foreign(f));
        let mut ranked: Vec<&Found> = scored.collect();
        ranked.sort_by(|a, b| {
            let (a_value, b_value) = (value(a).unwrap_or(f64::NAN), value(b).unwrap_or(f64::NAN));
            let worse = match self.mode {
                MonitorMode::Max => b_value.total_cmp(&a_value),
                MonitorMode::Min => a_value.total_cmp(&b_value),
            };
            worse.then(a.serial.cmp(&b.serial))
        });
        ranked
    }

    /// The checkpoints to remove. The one named `last` is always retained.
    fn surplus<'a>(&self, all: &'a [Found], last: &str) -> Vec<&'a Found> {
        let Some(count) = self.best else {
            return Vec::new();
        };
        let ranked = self.ranked(all);
        let best = &ranked[..count.min(ranked.len())];
        let stays = |found: &Found| best.contains(&found) || self.is_foreign(found) || found.is_named(last);
        all.iter().filter(|found| !stays(found)).collect()
    }
}

/// A complete checkpoint on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub path: PathBuf,
    pub stamp: Stamp,
    metric: Option<String>,
    serial: u64,
}

impl Found {
    fn new(path: PathBuf, marker: &Marker) -> Self {
        Found {
            path,
            stamp: marker.stamp,
            metric: marker.metric.clone(),
            serial: marker.serial,
        }
    }

    fn is_named(&self, name: &str) -> bool {
        self.path.file_name().is_some_and(|n| n == name)
    }
}

/// The result of a save.
#[derive(Debug)]
pub struct Saved {
    pub path: PathBuf,
    /// Whether it is the best checkpoint so far.
    pub is_best: bool,
    /// Problems that don't affect the checkpoint itself: with the second copy, a link, or an old
    /// folder that can't be removed.
    pub warnings: Vec<String>,
}

/// Saves, ranks and prunes the checkpoints of one run. Must not be used by two processes at once.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    root: PathBuf,
    mirror: Option<PathBuf>,
    keep: RetentionPolicy,
    /// Leftovers of an interrupted save and how they were cleaned up, one line each.
    pub cleaned: Vec<String>,
}

impl Checkpoints {
    /// Creates the folders and cleans up after an interrupted save. `mirror` receives a second copy
    /// of everything.
    pub fn new(root: PathBuf, mirror: Option<PathBuf>, keep: RetentionPolicy) -> Result<Checkpoints> {
        let mut cleaned = Vec::new();
        for folder in std::iter::once(&root).chain(&mirror) {
            fs::create_dir_all(folder).map_err(|e| {
                Error::io(Kind::Environment, "create the folder", folder, &e).with_help(
                    "checkpoints are saved there; set training.checkpoint_dir or \
                     training.volume_checkpoint_dir to change the folder",
                )
            })?;
            cleaned.extend(atomic::clean(folder, CONFIG)?);
        }
        Ok(Checkpoints {
            root,
            mirror,
            keep,
            cleaned,
        })
    }

    /// Saves a checkpoint named after its stamp, updates the links `last` and `best`, and removes
    /// checkpoints that are no longer retained.
    ///
    /// # Errors
    /// The checkpoint could not be written; earlier ones are untouched. A failure of the second
    /// copy is only a warning.
    pub fn save(&self, stamp: Stamp, model: &ModelImage, state: Option<&StateImage>) -> Result<Saved> {
        let path = self.root.join(stamp.name());
        let serial = 1 + list(&self.root)?.iter().map(|f| f.serial).max().unwrap_or(0);
        replace_folder(&path, &MARKS, |temporary| {
            model.write(temporary)?;
            if let Some(state) = state {
                state.write(temporary)?;
            }
            let mut files = BTreeMap::new();
            mark_files(temporary, "", &mut files)?;
            let metric = stamp.value.map(|_| self.keep.metric.clone());
            let marker = Marker {
                stamp,
                metric,
                serial,
                files,
            };
            let marker = serde_json::to_value(marker).map_err(|e| Error::failed(format!("JSON: {e}")))?;
            write_json(&temporary.join(COMPLETE), &marker)
        })?;
        let mut warnings = Vec::new();
        if let Some(mirror) = &self.mirror {
            let copied = replace_folder(&mirror.join(stamp.name()), &MARKS, |temporary| {
                copy_tree(&path, temporary)
            });
            if let Err(error) = copied {
                warnings.push(format!("the second copy failed: {error}"));
            }
        }
        let best = self.best()?;
        for root in self.roots() {
            self.tidy(root, &stamp.name(), &mut warnings);
        }
        Ok(Saved {
            is_best: best.is_some_and(|b| b.path == path),
            path,
            warnings,
        })
    }

    /// Completes a save that was interrupted around `newest`, the checkpoint that a run resumes
    /// from. Afterwards everything is as [`Checkpoints::save`] leaves it. This matters for a run
    /// that was killed in its very last save: no later save would do it. If `newest` or the best
    /// checkpoint is damaged, it is restored from the other root. Returns a line for each step that
    /// failed.
    pub fn settle(&self, newest: &Path) -> Vec<String> {
        let mut warnings = Vec::new();
        let Some(name) = newest.file_name().and_then(|name| name.to_str()) else {
            return warnings;
        };
        // `newest` has already been verified by reading all of it.
        let is_whole = |folder: &Path| folder == newest || is_whole(folder);
        self.restore(name, is_whole, &mut warnings);
        // The best checkpoint that is intact in some root. One that is damaged in all roots loses
        // its marker and is skipped.
        while let Some(best) = self.best_of_all() {
            if best == name || self.restore(&best, is_whole, &mut warnings) {
                break;
            }
        }
        for root in self.roots() {
            self.tidy(root, name, &mut warnings);
        }
        warnings
    }

    /// The name of the best checkpoint in any root.
    fn best_of_all(&self) -> Option<String> {
        let all: Vec<Found> = self
            .roots()
            .flat_map(|root| list(root).unwrap_or_default())
            .collect();
        let best = self
            .keep
            .ranked(&all)
            .first()?
            .path
            .file_name()?
            .to_str()?
            .to_owned();
        Some(best)
    }

    /// Restores a checkpoint in each root from a root where it is intact. If it is damaged
    /// everywhere, removes its marker and returns false.
    fn restore(&self, name: &str, is_whole: impl Fn(&Path) -> bool, warnings: &mut Vec<String>) -> bool {
        let (whole, others): (Vec<PathBuf>, Vec<PathBuf>) = self
            .roots()
            .map(|root| root.join(name))
            .partition(|folder| is_whole(folder));
        let Some(source) = whole.first() else {
            for folder in others.iter().filter(|folder| folder.join(COMPLETE).is_file()) {
                warnings.push(format!(
                    "{} is damaged and is ignored from now on",
                    folder.display()
                ));
                if let Err(e) = fs::remove_file(folder.join(COMPLETE)) {
                    warnings.push(cannot_save("remove", &folder.join(COMPLETE), &e).to_string());
                    return true; // stops the caller from trying again
                }
            }
            return false;
        };
        for folder in &others {
            let copied = replace_folder(folder, &MARKS, |temporary| copy_tree(source, temporary));
            if let Err(error) = copied {
                warnings.push(format!("{} can't be copied: {error}", source.display()));
            }
        }
        true
    }

    fn roots(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&self.root)
            .chain(&self.mirror)
            .map(PathBuf::as_path)
    }

    /// The best checkpoint by its metric, if any has one. Ties are broken in favour of the older
    /// one.
    pub fn best(&self) -> Result<Option<Found>> {
        let all = list(&self.root)?;
        Ok(self.keep.ranked(&all).first().map(|found| Found::clone(found)))
    }

    /// Updates the links and prunes one root. A failure is a warning, never an error.
    fn tidy(&self, root: &Path, last: &str, warnings: &mut Vec<String>) {
        let all = match list(root) {
            Ok(all) => all,
            Err(error) => return warnings.push(error.to_string()),
        };
        let mut warn = |result: Result<()>| warnings.extend(result.err().map(|e| e.to_string()));
        if root.join(last).is_dir() {
            warn(replace_link(&root.join(LAST), Path::new(last)));
        }
        for found in self.keep.surplus(&all, last) {
            warn(remove_folder(&found.path));
        }
        let ranked = self.keep.ranked(&all);
        match ranked.first().and_then(|best| best.path.file_name()) {
            Some(best) if root.join(best).is_dir() => {
                warn(replace_link(&root.join(BEST), Path::new(best)));
            }
            _ if fs::symlink_metadata(root.join(BEST)).is_ok_and(|m| m.is_symlink()) => {
                warn(
                    fs::remove_file(root.join(BEST)).map_err(|e| cannot_save("remove", &root.join(BEST), &e)),
                );
            }
            _ => {}
        }
    }
}

/// Finds the newest intact checkpoint in any of the roots, preferring earlier roots. Also returns a
/// line for each checkpoint that was skipped because it is broken. Roots that don't exist count as
/// empty.
pub fn latest_valid(roots: &[&Path]) -> Result<(Option<Found>, Vec<String>)> {
    let mut found = Vec::new();
    let mut skipped = Vec::new();
    for root in roots {
        for path in candidates(root)? {
            match read_marker(&path) {
                Ok(marker) => found.push((Found::new(path, &marker), marker.files)),
                Err(error) => skipped.push(format!("{} is incomplete: {error}", path.display())),
            }
        }
    }
    // A stable sort: for equal serials, the order of the roots is kept.
    found.sort_by_key(|(found, _)| std::cmp::Reverse(found.serial));
    for (found, files) in found {
        match check(&found.path, &files) {
            Ok(()) => return Ok((Some(found), skipped)),
            Err(error) => skipped.push(format!("{} is damaged: {error}", found.path.display())),
        }
    }
    Ok((None, skipped))
}

/// The complete checkpoints in a root, oldest first.
fn list(root: &Path) -> Result<Vec<Found>> {
    let mut found: Vec<Found> = candidates(root)?
        .into_iter()
        .filter_map(|path| {
            let marker = read_marker(&path).ok()?;
            Some(Found::new(path, &marker))
        })
        .collect();
    found.sort_by_key(|f| f.serial);
    Ok(found)
}

/// The folders in a root that are named like checkpoints. Links are not followed.
fn candidates(root: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(Kind::Input, "list", root, &e)),
    };
    let mut paths = Vec::new();
    for entry in entries.flatten() {
        let named = entry
            .file_name()
            .to_str()
            .is_some_and(|n| n.starts_with("epoch-") && n.contains("-step-"));
        if named && entry.file_type().is_ok_and(|t| t.is_dir()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_marker(folder: &Path) -> Result<Marker> {
    let path = folder.join(COMPLETE);
    serde_json::from_value(read_json(&path)?).map_err(|e| Error::input(format!("{}: {e}", path.display())))
}

fn is_whole(folder: &Path) -> bool {
    read_marker(folder).is_ok_and(|marker| check(folder, &marker.files).is_ok())
}

/// Checks that every file is unchanged since it was written, and that the tensor headers are valid.
fn check(folder: &Path, files: &BTreeMap<String, FileMark>) -> Result<()> {
    for (name, mark) in files {
        let path = folder.join(name);
        let found = fs::metadata(&path)
            .map_err(|e| Error::io(Kind::Input, "read", &path, &e))?
            .len();
        let (FileMark::Hashed { bytes, .. } | FileMark::Bytes(bytes)) = mark;
        if found != *bytes {
            return Err(Error::input(format!(
                "{name} has {found} bytes instead of {bytes}"
            )));
        }
        if let FileMark::Hashed { sha256, .. } = mark
            && *sha256 != digest(&path).map_err(|e| Error::io(Kind::Input, "read", &path, &e))?
        {
            return Err(Error::input(format!("{name} has changed since it was written")));
        }
        if name.ends_with(".safetensors") {
            Weights::open(&[path])?;
        }
    }
    Ok(())
}

fn mark_files(folder: &Path, prefix: &str, files: &mut BTreeMap<String, FileMark>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| cannot_save("list", folder, &e))? {
        let entry = entry.map_err(|e| cannot_save("list", folder, &e))?;
        let about = entry.metadata().map_err(|e| cannot_save("list", folder, &e))?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if about.is_dir() {
            mark_files(&entry.path(), &format!("{name}/"), files)?;
            continue;
        }
        let mark = FileMark::Hashed {
            bytes: about.len(),
            sha256: digest(&entry.path()).map_err(|e| cannot_save("read", &entry.path(), &e))?,
        };
        files.insert(name, mark);
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).map_err(|e| cannot_save("list", from, &e))? {
        let entry = entry.map_err(|e| cannot_save("list", from, &e))?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target).map_err(|e| cannot_save("create the folder", &target, &e))?;
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).map_err(|e| cannot_save("write", &target, &e))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

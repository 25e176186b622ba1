//! The folder of a run.

use cvhost::atomic::replace_file;
use cvhost::config::Draft;
use cvhost::error::{Error, Kind, Result};
use cvhost_torch::evaluate::{REPORT, write_report};
use cvhost_train::events::RunEvent;
use cvhost_train::observers::Observer;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The folder of one run: `<results_dir>/<task>-<date>-<time>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    pub path: PathBuf,
}

/// A lock on a run's folder, held until it is dropped.
#[derive(Debug)]
pub struct RunLock(#[expect(dead_code, reason = "held for its lock")] File);

/// The lock file of a training process.
const LOCK: &str = ".lock";
/// The resolved configuration.
const CONFIG: &str = "config.yaml";

impl RunFolder {
    /// Creates the folder of a new run, with a unique name.
    pub fn create(results: &Path, task: &str) -> Result<Self> {
        let stamp = timestamp(SystemTime::now());
        std::fs::create_dir_all(results).map_err(|e| cannot_create(results, &e))?;
        let mut attempt = 1;
        loop {
            let suffix = if attempt == 1 {
                String::new()
            } else {
                format!("-{attempt}")
            };
            let path = results.join(format!("{task}-{stamp}{suffix}"));
            match std::fs::create_dir(&path) {
                Ok(()) => {
                    return Ok(RunFolder {
                        path: absolute(&path),
                    });
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && attempt < 1000 => attempt += 1,
                Err(e) => return Err(cannot_create(&path, &e)),
            }
        }
    }

    /// Opens the existing folder of a run.
    pub fn existing(path: &Path) -> Result<Self> {
        if !path.join(CONFIG).is_file() {
            return Err(Error::usage(format!(
                "{} is not the folder of a run: it has no {CONFIG}",
                path.display()
            ))
            .with_help("give a folder that an earlier `cvhost run` printed"));
        }
        Ok(RunFolder { path: absolute(path) })
    }

    /// Finds the newest run in the results folder, of this task or of any task.
    pub fn newest(results: &Path, task: Option<&str>) -> Result<Self> {
        let prefix = task.map_or_else(String::new, |task| format!("{task}-"));
        let entries = std::fs::read_dir(results).into_iter().flatten().flatten();
        let newest = entries
            .filter(|e| {
                e.file_name().to_string_lossy().starts_with(&prefix) && e.path().join(CONFIG).is_file()
            })
            .max_by_key(|e| e.metadata().and_then(|m| m.modified()).unwrap_or(UNIX_EPOCH));
        let newest = newest.ok_or_else(|| {
            let of_task = task.map_or_else(String::new, |task| format!(" of {task}"));
            Error::usage(format!(
                "--resume: there is no run{of_task} in {}",
                results.display()
            ))
            .with_help("start without --resume, or give the run's folder: --resume=DIR")
        })?;
        Self::existing(&newest.path())
    }

    pub fn name(&self) -> String {
        self.path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    /// The path of the resolved configuration.
    pub fn config(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// The path of the evaluation report.
    pub fn report(&self) -> PathBuf {
        self.path.join(REPORT)
    }

    /// Saves the resolved configuration.
    pub fn write_config(&self, yaml: &str) -> Result<()> {
        replace_file(&self.config(), yaml.as_bytes())
    }

    /// Reads the saved configuration; empty if it doesn't exist or can't be read.
    pub fn kept(&self) -> Draft {
        Draft::read(&self.config(), &[]).unwrap_or_else(|_| Draft::empty())
    }

    /// Locks the folder for this process. The lock is released when the process ends, for whatever
    /// reason.
    ///
    /// # Errors
    /// Another process is training in it.
    pub fn lock(&self) -> Result<RunLock> {
        let path = self.path.join(LOCK);
        let file = File::create(&path).map_err(|e| Error::io(Kind::Environment, "create", &path, &e))?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock(file)),
            Err(TryLockError::WouldBlock) => Err(Error::usage(format!(
                "another cvhost process is training in {}",
                self.path.display()
            ))
            .with_help("wait until it has finished or stop it with Ctrl-C, then resume")),
            Err(TryLockError::Error(e)) => {
                // Some network file systems don't support locks. Training is possible without one.
                tracing::warn!("{} can't be locked: {e}", path.display());
                Ok(RunLock(file))
            }
        }
    }
}

/// Saves the configuration and the report in the run folder.
impl Observer for RunFolder {
    fn observe(&mut self, event: &RunEvent) -> Result<()> {
        match event {
            RunEvent::RunStarted(start) => self.write_config(&start.config),
            RunEvent::Report(report) => write_report(&report.document, &self.path),
            _ => Ok(()),
        }
    }
}

fn cannot_create(path: &Path, error: &std::io::Error) -> Error {
    Error::io(Kind::Environment, "create the folder", path, error)
        .with_help("set output.results_dir to a writable folder")
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// `YYYYMMDD-HHMMSS` in UTC.
fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}{month:02}{day:02}-{:02}{:02}{:02}",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Converts days since 1970-01-01 to year, month and day (proleptic Gregorian calendar, counted in
/// eras of 400 years).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // days since 0000-03-01
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted_month + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timestamps_are_correct() {
        let at = |seconds| timestamp(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "19700101-000000");
        assert_eq!(at(951_782_399), "20000228-235959");
        assert_eq!(at(951_782_400), "20000229-000000");
        assert_eq!(at(1_767_225_599), "20251231-235959");
    }

    #[test]
    fn a_folder_is_locked_by_one_process_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::create(root.path(), "toy").unwrap();
        let lock = run.lock().unwrap();
        let text = run.lock().unwrap_err().to_string();
        assert!(text.contains("another cvhost process"), "{text}");
        drop(lock);
        run.lock().unwrap();
    }

    #[test]
    fn two_runs_in_one_second_get_two_folders() {
        let root = tempfile::tempdir().unwrap();
        let a = RunFolder::create(root.path(), "toy").unwrap();
        let b = RunFolder::create(root.path(), "toy").unwrap();
        assert_ne!(a, b);
    }
}

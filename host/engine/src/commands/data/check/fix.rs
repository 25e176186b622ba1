//! `--fix`: repaired annotations, written beside the old ones.

use super::open::Opened;
use super::report::{Finding, Kind, Report};
use crate::session::{Session, shown};
use cvhost::cli::Split;
use cvhost::error::{self, Error, Result};
use cvhost::output;
use cvhost_plugin_api::data::Repair;
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A repaired annotation file that is on the disk.
pub struct Written {
    split: Split,
    file: PathBuf,
    changes: Vec<String>,
}

/// Writes a split's repaired annotations, if anything has to be repaired. A file that is there already stays as it is; where
/// it holds something else, that is an error in the report.
pub fn write(session: &Session, opened: &mut Opened, report: &mut Report) -> Option<Written> {
    let (split, refused) = (opened.split, opened.refused);
    let annotations = opened.args.annotations.clone();
    let failed = |e: &Error| {
        let finding = if refused {
            Finding::error(Kind::Repair, split, e.what.clone())
        } else {
            Finding::info(Kind::Repair, split, e.what.clone())
        };
        finding.with_help(e.help.clone().unwrap_or_default())
    };
    let repair = match opened.repair(session) {
        Ok(repair) => repair,
        Err(e) => {
            report.add(failed(e));
            return None;
        }
    };
    if repair.changes.is_empty() {
        return None;
    }
    match write_new(repair, &annotations) {
        Ok(file) => Some(Written {
            split,
            file,
            changes: repair.changes.iter().map(ToString::to_string).collect(),
        }),
        Err(e) => {
            let finding = Finding::error(Kind::Repair, split, e.what);
            report.add(finding.with_help(e.help.unwrap_or_default()));
            None
        }
    }
}

/// Writes a repair to its path, whole or not at all; nothing that is there is overwritten.
fn write_new(repair: &Repair, annotations: &str) -> Result<PathBuf> {
    let path = PathBuf::from(repair.path.as_str());
    if repair.path.is_empty() || Path::new(annotations) == path {
        return Err(Error::failed(format!(
            "the task plugin asked to write its repaired annotations to `{}`",
            repair.path
        ))
        .with_help("this is a fault of the task plugin; tell its authors"));
    }
    if path.exists() {
        return same_content(&path, &repair.bytes).map(|()| path);
    }
    let io = |e: std::io::Error| Error::io(error::Kind::Failed, "write", &path, &e);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .prefix(".repair-")
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(io)?;
    file.write_all(&repair.bytes).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    match file.persist_noclobber(&path) {
        Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => same_content(&path, &repair.bytes)?,
        Err(e) => return Err(io(e.error)),
        Ok(_) => {}
    }
    Ok(path)
}

fn same_content(path: &Path, bytes: &[u8]) -> Result<()> {
    let there = std::fs::read(path).map_err(|e| Error::io(error::Kind::Failed, "read", path, &e))?;
    if there == bytes {
        return Ok(());
    }
    Err(
        Error::input(format!("{} exists already and holds something else", shown(path)))
            .with_help("move it away, or use it if it is an earlier repair that you have changed"),
    )
}

impl Written {
    /// The key that the repaired file belongs to.
    fn key(&self) -> String {
        format!("data.{}_annotation_file", self.split)
    }

    pub fn event(&self) {
        let fields = json!({
            "split": self.split.name(), "file": self.file, "key": self.key(), "changes": self.changes,
        });
        output::event("data_repaired", fields);
    }

    /// What was written and how to use it; of the changes the first `most`.
    pub fn text(&self, most: usize) -> String {
        let count = self.changes.len();
        let noun = if count == 1 { "change" } else { "changes" };
        let mut lines = vec![format!(
            "  {}: {count} {noun} in {}",
            self.split,
            shown(&self.file)
        )];
        lines.extend(
            self.changes
                .iter()
                .take(most)
                .map(|change| format!("    {change}")),
        );
        if count > most {
            lines.push(format!("    … and {} more", count - most));
        }
        lines.push(format!("    use it with {}={}", self.key(), shown(&self.file)));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_exists_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.repaired.json");
        let repair = |bytes: &[u8]| Repair {
            path: path.to_str().unwrap().into(),
            bytes: bytes.to_vec().into(),
            changes: vec!["one".into()].into(),
        };
        assert_eq!(write_new(&repair(b"new"), "a.json").unwrap(), path);
        assert_eq!(write_new(&repair(b"new"), "a.json").unwrap(), path);
        let error = write_new(&repair(b"other"), "a.json").unwrap_err();
        assert!(error.to_string().contains("exists already"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary file stays"
        );
        assert!(write_new(&repair(b"new"), path.to_str().unwrap()).is_err());
    }
}

//! `--fix`: writes repaired annotations next to the original ones.

use super::open::Opened;
use super::report::{Finding, Kind, Report};
use crate::session::{Session, shown};
use cvhost::cli::Split;
use cvhost::error::{self, Error, Result};
use cvhost::output;
use cvhost_plugin_api::data::{Repair, RepairedFile};
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Repaired annotations that have been written.
pub struct Written {
    split: Split,
    file: PathBuf,
    changes: Vec<String>,
}

/// Writes a split's repaired annotations, if any repair is necessary. An existing file is never
/// overwritten; if its content differs, that is an error in the report.
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
        Ok(files) => Some(Written {
            split,
            file: usable_path(&files),
            changes: repair.changes.iter().map(ToString::to_string).collect(),
        }),
        Err(e) => {
            let finding = Finding::error(Kind::Repair, split, e.what);
            report.add(finding.with_help(e.help.unwrap_or_default()));
            None
        }
    }
}

/// Writes the files of a repair atomically. Existing files are never overwritten.
fn write_new(repair: &Repair, annotations: &str) -> Result<Vec<PathBuf>> {
    if repair.files.is_empty() {
        return Err(bad_path(""));
    }
    for file in &repair.files {
        if file.path.is_empty() || Path::new(annotations) == Path::new(file.path.as_str()) {
            return Err(bad_path(&file.path));
        }
    }
    repair.files.iter().map(write_file).collect()
}

fn bad_path(path: &str) -> Error {
    Error::failed(format!(
        "the task plugin asked to write its repaired annotations to `{path}`"
    ))
    .with_expected("a new file next to the annotations")
    .with_help("this is a bug in the task plugin; report it to its authors")
}

fn write_file(repaired: &RepairedFile) -> Result<PathBuf> {
    let path = PathBuf::from(repaired.path.as_str());
    if path.exists() {
        return same_content(&path, &repaired.bytes).map(|()| path);
    }
    let io = |e: std::io::Error| Error::io(error::Kind::Failed, "write", &path, &e);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    let mut file = tempfile::Builder::new()
        .prefix(".repair-")
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(io)?;
    file.write_all(&repaired.bytes).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    match file.persist_noclobber(&path) {
        Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => {
            same_content(&path, &repaired.bytes)?;
        }
        Err(e) => return Err(io(e.error)),
        Ok(_) => {}
    }
    Ok(path)
}

/// The new value for `data.<split>_annotation_file`: the file, or the folder of several files.
fn usable_path(files: &[PathBuf]) -> PathBuf {
    match files {
        [file] => file.clone(),
        files => files
            .first()
            .and_then(|file| file.parent())
            .map_or_else(PathBuf::new, Path::to_path_buf),
    }
}

fn same_content(path: &Path, bytes: &[u8]) -> Result<()> {
    let there = std::fs::read(path).map_err(|e| Error::io(error::Kind::Failed, "read", path, &e))?;
    if there == bytes {
        return Ok(());
    }
    Err(
        Error::input(format!("{} already exists with different content", shown(path)))
            .with_help("move it elsewhere, or use it if it is an earlier repair that you have edited"),
    )
}

impl Written {
    /// The configuration key for the repaired file.
    fn key(&self) -> String {
        format!("data.{}_annotation_file", self.split)
    }

    pub fn event(&self) {
        let fields = json!({
            "split": self.split.name(), "file": self.file, "key": self.key(), "changes": self.changes,
        });
        output::event("data_repaired", fields);
    }

    /// Describes what was written and how to use it, with at most `most` changes.
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
    fn existing_files_are_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.repaired.json");
        let repair = |bytes: &[u8]| Repair::file(path.to_str().unwrap(), bytes.to_vec(), ["one"]);
        let written = || vec![path.clone()];
        assert_eq!(write_new(&repair(b"new"), "a.json").unwrap(), written());
        assert_eq!(write_new(&repair(b"new"), "a.json").unwrap(), written());
        let error = write_new(&repair(b"other"), "a.json").unwrap_err();
        assert!(error.to_string().contains("already exists"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary file remains"
        );
        assert!(write_new(&repair(b"new"), path.to_str().unwrap()).is_err());
        assert!(write_new(&Repair::default(), "a.json").is_err());
    }

    #[test]
    fn a_repair_with_several_files_is_used_via_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| RepairedFile {
            path: folder.path().join("repaired").join(name).to_str().unwrap().into(),
            bytes: name.as_bytes().to_vec().into(),
        };
        let repair = Repair {
            files: vec![file("1.xml"), file("2.xml")].into(),
            changes: vec!["two".into()].into(),
            ..Default::default()
        };
        let written = write_new(&repair, "annotations").unwrap();
        assert_eq!(usable_path(&written), folder.path().join("repaired"));
        assert_eq!(std::fs::read(&written[1]).unwrap(), b"2.xml");
    }
}

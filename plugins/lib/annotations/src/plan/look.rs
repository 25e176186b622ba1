//! Inspects folders and files.

use crate::yolo::DataYaml;
use cvhost_images::walk;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Kinds of files and folders that hold annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Folder,
    Json,
    Table,
    Yaml,
    Xml,
    List,
    Other,
}

/// The kind of a path, determined by its extension, otherwise by its first character.
pub fn kind(path: &Path) -> Kind {
    if path.is_dir() {
        return Kind::Folder;
    }
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("json") => return Kind::Json,
        Some("csv" | "tsv") => return Kind::Table,
        Some("yaml" | "yml") => return Kind::Yaml,
        Some("xml") => return Kind::Xml,
        Some("txt") => return Kind::List,
        _ => {}
    }
    let mut begin = [0; 64];
    let count = if path.is_file() {
        File::open(path).and_then(|mut f| f.read(&mut begin))
    } else {
        Ok(0)
    };
    let begin = begin.get(..count.unwrap_or(0)).unwrap_or_default();
    let begin = begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin);
    match begin.iter().find(|b| !b.is_ascii_whitespace()) {
        Some(b'{' | b'[') => Kind::Json,
        Some(b'<') => Kind::Xml,
        _ => Kind::Other,
    }
}

/// The regular files in a folder, sorted; empty if it can't be listed.
pub fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|e| e.path()).filter(|path| path.is_file()).collect();
    files.sort_unstable();
    files
}

/// Whether a path has one of these extensions, ignoring case.
pub fn ends_with(path: &Path, endings: &[&str]) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    extension.is_some_and(|e| endings.contains(&e.as_str()))
}

/// The file with one of these extensions, if there is exactly one.
pub fn only(folder: &Path, endings: &[&str]) -> Option<PathBuf> {
    let mut files = files_in(folder)
        .into_iter()
        .filter(|path| ends_with(path, endings));
    let first = files.next()?;
    files.next().is_none().then_some(first)
}

/// Whether a file with this extension exists in or below a folder.
pub fn has_below(folder: &Path, ending: &str) -> bool {
    walk(folder, |name| ends_with(Path::new(name), &[ending])).is_ok_and(|files| !files.names.is_empty())
}

/// The `data.yaml` of a YOLO dataset, if the folder has one.
pub fn yaml_in(folder: &Path) -> Option<PathBuf> {
    let usual = ["data.yaml", "data.yml", "dataset.yaml"].map(|name| folder.join(name));
    if let Some(found) = usual.into_iter().find(|path| path.is_file()) {
        return Some(found);
    }
    let only = only(folder, &["yaml", "yml"])?;
    let data = DataYaml::open(&only).ok()?;
    (!data.names.is_empty()).then_some(only)
}

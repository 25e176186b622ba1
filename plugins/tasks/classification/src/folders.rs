//! One folder per class: `root/<class>/…/image.png`.

use crate::found::Found;
use cvhost_datasets::{ImageFolder, list_of};
use cvhost_images::{EXTENSIONS, is_image};
use cvhost_plugin_api::data::Problem;
use cvhost_plugin_api::{PluginError, Result};
use std::collections::BTreeMap;
use std::fs::{DirEntry, FileType};
use std::path::Path;

/// Maximum folder nesting depth.
const MAX_DEPTH: usize = 64;
/// Maximum number of skipped files that are listed.
const MAX_NAMES: usize = 5;

/// Reads the class folders below `root`. `split` is used for the configuration keys in errors.
pub fn read(root: &Path, split: &str) -> Result<Found> {
    let images = ImageFolder::open(root, split)?;
    let key = format!("data.{split}_data_path");
    let mut walk = Walk {
        root,
        images: &images,
        found: Found::default(),
        skipped: BTreeMap::new(),
    };
    let mut empty = Vec::new();
    for entry in entries(root).map_err(|e| unreadable(root, &e))? {
        if hidden(&entry) {
            continue;
        }
        let name = entry.name.as_str();
        if !entry.utf8 {
            walk.skip("a name that is not UTF-8", name);
            continue;
        }
        match walk.kind(name, &entry)? {
            Kind::Folder => {
                let label = walk.found.classes.len() as u32;
                let before = walk.found.records.len();
                walk.folder(name, label, 0)?;
                if walk.found.records.len() == before {
                    empty.push(entry.name);
                } else {
                    walk.found.classes.push(entry.name);
                }
            }
            Kind::Image => walk.skip("an image outside of a class folder", name),
            Kind::Other(why) => walk.skip(why, name),
            Kind::Fault => {}
        }
    }
    let Walk {
        mut found, skipped, ..
    } = walk;
    if found.records.len() == 0 && found.faults.is_empty() {
        let mut error = PluginError::config(
            &key,
            format!(
                "the {split} split has no images: no folder in {} contains any",
                root.display()
            ),
        )
        .with_help(format!(
            "`{key}` must be a folder with one subfolder per class that contains images ({}); for \
             images with a CSV file set `data.{split}_annotation_file`",
            EXTENSIONS.join(", ")
        ));
        let here = skipped
            .into_iter()
            .map(|(why, names)| skipped_message(why, &names, root));
        error = error.with_details(here);
        return Err(error);
    }
    if !empty.is_empty() {
        let names: Vec<&str> = empty.iter().map(String::as_str).collect();
        found.warnings.push(Problem::warning(format!(
            "{}: {} class folder{} without images: {}",
            root.display(),
            empty.len(),
            if empty.len() == 1 { "" } else { "s" },
            list_of(&names)
        )));
    }
    let skipped = skipped
        .into_iter()
        .map(|(why, names)| Problem::warning(skipped_message(why, &names, root)));
    found.warnings.extend(skipped);
    Ok(found)
}

/// The names of the class folders that contain images, without listing all images. `None` if the
/// folder can't be read.
pub fn classes(root: &Path) -> Option<Vec<String>> {
    let entries = entries(root).ok()?;
    let folders = entries
        .into_iter()
        .filter(|e| !hidden(e) && e.utf8 && e.kind.is_dir());
    Some(
        folders
            .filter(|e| has_image(&root.join(&e.name), 0))
            .map(|e| e.name)
            .collect(),
    )
}

fn has_image(folder: &Path, depth: usize) -> bool {
    let Ok(entries) = entries(folder) else {
        return false;
    };
    let here = |e: &Entry| !hidden(e) && e.utf8 && !e.kind.is_dir() && is_image(&e.name);
    entries.iter().any(here)
        || depth < MAX_DEPTH
            && entries
                .iter()
                .any(|e| e.kind.is_dir() && !hidden(e) && has_image(&folder.join(&e.name), depth + 1))
}

/// A folder entry.
struct Entry {
    name: String,
    /// Whether the file name is valid UTF-8, so that `name` is exact.
    utf8: bool,
    kind: FileType,
}

enum Kind {
    Folder,
    Image,
    /// Skipped, with the reason.
    Other(&'static str),
    /// A fault that was already reported.
    Fault,
}

struct Walk<'a> {
    root: &'a Path,
    images: &'a ImageFolder,
    found: Found,
    /// Skipped entries by reason: count and first names.
    skipped: BTreeMap<&'static str, (usize, Vec<String>)>,
}

impl Walk<'_> {
    /// Adds the images below `folder`, a path relative to the root, sorted by name.
    fn folder(&mut self, folder: &str, label: u32, depth: usize) -> Result<()> {
        let path = self.root.join(folder);
        for entry in entries(&path).map_err(|e| unreadable(&path, &e))? {
            if hidden(&entry) {
                continue;
            }
            let name = format!("{folder}/{}", entry.name);
            if !entry.utf8 {
                self.skip("a name that is not UTF-8", &name);
                continue;
            }
            match self.kind(&name, &entry)? {
                Kind::Folder if depth >= MAX_DEPTH => self.skip(
                    "in a folder that is nested too \
                    deeply",
                    &name,
                ),
                Kind::Folder => self.folder(&name, label, depth + 1)?,
                Kind::Image => self.found.records.push(&name, &[label]),
                Kind::Other(why) => self.skip(why, &name),
                Kind::Fault => {}
            }
        }
        Ok(())
    }

    /// Classifies an entry. A link that leaves the root is a fault; a link to a folder is skipped,
    /// since it could form a cycle.
    fn kind(&mut self, name: &str, entry: &Entry) -> Result<Kind> {
        if entry.kind.is_symlink() {
            let path = self.root.join(name);
            if let Err(trouble) = self.images.check_link(&path) {
                self.found
                    .faults
                    .push(trouble.kind(), || format!("{} {trouble}", path.display()));
                return Ok(Kind::Fault);
            }
            if path.is_dir() {
                return Ok(Kind::Other("a link to a folder"));
            }
        } else if entry.kind.is_dir() {
            return Ok(Kind::Folder);
        }
        Ok(if is_image(&entry.name) {
            Kind::Image
        } else {
            Kind::Other("not an image by its name")
        })
    }

    fn skip(&mut self, why: &'static str, name: &str) {
        let (count, names) = self.skipped.entry(why).or_default();
        *count += 1;
        if names.len() < MAX_NAMES {
            names.push(name.to_owned());
        }
    }
}

fn skipped_message(why: &str, (count, names): &(usize, Vec<String>), root: &Path) -> String {
    let rest = if names.len() < *count {
        format!(" and {} more", count - names.len())
    } else {
        String::new()
    };
    format!(
        "{}: {count} skipped ({why}): {}{rest}",
        root.display(),
        names.join(", ")
    )
}

fn hidden(entry: &Entry) -> bool {
    entry.name.starts_with('.')
}

/// The entries of a folder, sorted by name, so that the order of records is the same on every
/// machine.
fn entries(folder: &Path) -> std::io::Result<Vec<Entry>> {
    let entry = |entry: std::io::Result<DirEntry>| {
        let entry = entry?;
        let name = entry.file_name();
        Ok(Entry {
            utf8: name.to_str().is_some(),
            name: name.to_string_lossy().into_owned(),
            kind: entry.file_type()?,
        })
    };
    let mut entries: Vec<Entry> = std::fs::read_dir(folder)?
        .map(entry)
        .collect::<std::io::Result<_>>()?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn unreadable(folder: &Path, error: &std::io::Error) -> PluginError {
    PluginError::data(format!("cannot list the folder {}: {error}", folder.display()))
}

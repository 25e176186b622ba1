//! Checks the images that annotations refer to, listing each folder once: they must exist, and no
//! name may lead out of the image folder.

use cvhost_plugin_api::{PluginError, Result};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::FileType;
use std::path::{Component, Path, PathBuf};

/// Fault kinds for [`crate::Faults`].
pub const MISSING: &str = "images that are missing";
pub const LEAVING: &str = "file names that leave the folder";

/// The content of a folder; `None` if it can't be listed, `Err` if it is outside the root.
type Listing = Result<Option<HashMap<OsString, FileType>>, ()>;

/// The folder that a split's file names are relative to.
pub struct ImageFolder {
    /// Canonical path, with symbolic links resolved.
    root: PathBuf,
    folders: HashMap<PathBuf, Listing>,
}

/// Why an image can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Missing,
    /// Leads out of the folder, or isn't a file name.
    Leaves(&'static str),
}

impl Trouble {
    /// The kind of fault for [`crate::Faults`].
    pub fn kind(self) -> &'static str {
        match self {
            Trouble::Missing => MISSING,
            Trouble::Leaves(_) => LEAVING,
        }
    }
}

/// Continues a sentence that starts with the file's name: "… does not exist", "… has `..` in it;
/// rejected".
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Missing => f.write_str("does not exist"),
            Trouble::Leaves(why) => write!(f, "{why}; rejected"),
        }
    }
}

impl ImageFolder {
    /// `split` is used for the configuration key in errors.
    pub fn open(root: &Path, split: &str) -> Result<Self> {
        let key = format!("data.{split}_data_path");
        let real_root = root.canonicalize().map_err(|e| {
            let message = format!(
                "cannot open the folder of the {split} images, {}: {e}",
                root.display()
            );
            PluginError::config(&key, message).with_help(format!(
                "set `{key}` to the folder that the annotations' file names are relative to"
            ))
        })?;
        if !real_root.is_dir() {
            let message = format!(
                "the path of the {split} images, {}, is not a folder",
                root.display()
            );
            return Err(PluginError::config(&key, message));
        }
        Ok(ImageFolder {
            root: real_root,
            folders: HashMap::new(),
        })
    }

    /// Whether `file_name` is a file in this folder or below it.
    pub fn check(&mut self, file_name: &str) -> Result<(), Trouble> {
        let path = Path::new(file_name);
        for component in path.components() {
            match component {
                Component::Normal(_) | Component::CurDir => {}
                Component::ParentDir => return Err(Trouble::Leaves("has `..` in it")),
                Component::RootDir | Component::Prefix(_) => {
                    return Err(Trouble::Leaves("is an absolute path"));
                }
            }
        }
        if file_name.contains('\0') {
            return Err(Trouble::Leaves("has a NUL byte in it"));
        }
        let Some(name) = path.file_name() else {
            return Err(Trouble::Leaves("is not a file name"));
        };
        let folder = self.root.join(path.parent().unwrap_or(Path::new("")));
        let root = &self.root;
        let listing = match self.folders.get(&folder) {
            Some(listing) => listing,
            None => self
                .folders
                .entry(folder.clone())
                .or_insert_with(|| list(root, &folder)),
        };
        let entries = match listing {
            Err(()) => return Err(Trouble::Leaves("goes through a link that leaves the folder")),
            Ok(None) => return Err(Trouble::Missing),
            Ok(Some(entries)) => entries,
        };
        match entries.get(name) {
            None => Err(Trouble::Missing),
            Some(kind) if kind.is_dir() => Err(Trouble::Leaves("is a folder")),
            Some(kind) if kind.is_symlink() => self.check_link(&folder.join(name)),
            Some(_) => Ok(()),
        }
    }

    /// Whether a link leads to something inside this folder.
    pub fn check_link(&self, link: &Path) -> Result<(), Trouble> {
        match link.canonicalize() {
            Err(_) => Err(Trouble::Missing),
            Ok(real) if !real.starts_with(&self.root) => {
                Err(Trouble::Leaves("is a link that leaves the folder"))
            }
            Ok(_) => Ok(()),
        }
    }
}

fn list(root: &Path, folder: &Path) -> Listing {
    let Ok(real) = folder.canonicalize() else {
        return Ok(None);
    };
    if !real.starts_with(root) {
        return Err(());
    }
    let Ok(entries) = std::fs::read_dir(&real) else {
        return Ok(None);
    };
    Ok(Some(
        entries
            .flatten()
            .filter_map(|e| Some((e.file_name(), e.file_type().ok()?)))
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_inside_are_accepted_and_ways_out_are_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(root.join("sub/a.png"), "").unwrap();
        std::fs::write(folder.path().join("outside.png"), "").unwrap();
        symlink("sub/a.png", root.join("in.png")).unwrap();
        symlink("../outside.png", root.join("out.png")).unwrap();
        symlink("..", root.join("up")).unwrap();
        let mut images = ImageFolder::open(&root, "val").unwrap();
        for good in ["sub/a.png", "./sub/a.png", "in.png"] {
            assert_eq!(images.check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("gone.png", "does not exist"),
            ("nowhere/a.png", "does not exist"),
            ("../outside.png", "has `..` in it; rejected"),
            ("/etc/hostname", "is an absolute path; rejected"),
            ("out.png", "is a link that leaves the folder; rejected"),
            (
                "up/outside.png",
                "goes through a link that leaves the folder; rejected",
            ),
            ("sub", "is a folder; rejected"),
            (".", "is not a file name; rejected"),
            ("a\0b", "has a NUL byte in it; rejected"),
        ] {
            assert_eq!(images.check(bad).unwrap_err().to_string(), why, "{bad}");
        }
    }

    #[test]
    fn an_error_for_a_root_that_is_not_a_folder_names_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.txt");
        std::fs::write(&file, "").unwrap();
        for path in [file, folder.path().join("gone")] {
            assert_eq!(
                ImageFolder::open(&path, "test").err().unwrap().key,
                "data.test_data_path"
            );
        }
    }
}

//! Checks the pictures that an annotation file names, by listing their folders once: they must be there, and no name may
//! lead out of the pictures' folder.

use crate::coco::Image;
use crate::problems::Faults;
use cvhost_plugin_api::{PluginError, Result};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::FileType;
use std::path::{Component, Path, PathBuf};

const MISSING: &str = "pictures that are missing";
const LEAVING: &str = "file names that leave the folder";

/// Adds a fault for every image whose file is missing or lies outside `root`. `split` names the configuration key.
pub fn check(root: &Path, split: &str, images: &[Image], faults: &mut Faults) -> Result<()> {
    let key = format!("data.{split}_data_path");
    let real_root = root.canonicalize().map_err(|e| {
        PluginError::config(
            &key,
            format!(
                "cannot open the folder of the {split} pictures, {}: {e}",
                root.display()
            ),
        )
        .with_help(format!(
            "set `{key}` to the folder that the annotations' file names start from"
        ))
    })?;
    if !real_root.is_dir() {
        let message = format!("the {split} pictures' path {} is not a folder", root.display());
        return Err(PluginError::config(&key, message));
    }
    let mut folders = HashMap::new();
    for image in images {
        match locate(&real_root, &image.file_name, &mut folders) {
            Ok(()) => {}
            Err(Trouble::Missing) => {
                faults.push(MISSING, || {
                    format!(
                        "image {}: {} does not exist",
                        image.id,
                        root.join(&*image.file_name).display()
                    )
                });
            }
            Err(Trouble::Leaves(why)) => {
                faults.push(LEAVING, || {
                    format!(
                        "image {}: file_name {:?} {why}; refused",
                        image.id, &*image.file_name
                    )
                });
            }
        }
    }
    Ok(())
}

enum Trouble {
    Missing,
    /// Leads out of the folder, or isn't a file name at all.
    Leaves(&'static str),
}

/// What a folder holds; `None` for one that can't be listed.
type Listing = Option<HashMap<OsString, FileType>>;

fn locate(
    root: &Path,
    file_name: &str,
    folders: &mut HashMap<PathBuf, Result<Listing, ()>>,
) -> Result<(), Trouble> {
    let path = Path::new(file_name);
    for component in path.components() {
        match component {
            Component::Normal(_) | Component::CurDir => {}
            Component::ParentDir => return Err(Trouble::Leaves("has `..` in it")),
            Component::RootDir | Component::Prefix(_) => return Err(Trouble::Leaves("is an absolute path")),
        }
    }
    if file_name.contains('\0') {
        return Err(Trouble::Leaves("has a NUL byte in it"));
    }
    let Some(name) = path.file_name() else {
        return Err(Trouble::Leaves("is no file name"));
    };
    let folder = root.join(path.parent().unwrap_or(Path::new("")));
    let listing = match folders.get(&folder) {
        Some(listing) => listing,
        None => folders
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
        Some(kind) if kind.is_symlink() => match folder.join(name).canonicalize() {
            Err(_) => Err(Trouble::Missing),
            Ok(real) if !real.starts_with(root) => Err(Trouble::Leaves("is a link that leaves the folder")),
            Ok(_) => Ok(()),
        },
        Some(_) => Ok(()),
    }
}

/// What `folder` holds, or `Err` where it isn't inside `root`.
fn list(root: &Path, folder: &Path) -> Result<Listing, ()> {
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

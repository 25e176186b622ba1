//! Pascal VOC: one XML file per image, and lists of a split's images in `ImageSets/Main`.
//!
//! Boxes are `xmax - xmin` wide, without a pixel offset: VOC's own tools count pixels from 1, most
//! exporters from 0, and the file doesn't say which. Objects marked `difficult` are ignored, as in
//! VOC's evaluation.

mod xml;

pub use xml::{Image, Object, parse};

use crate::boxes::{Annotation, BoxSet, Category, Naming};
use crate::{limits, parallel};
use cvhost_datasets::Faults;
use cvhost_images::{EXTENSIONS, is_image, walk};
use cvhost_plugin_api::{PluginError, Result};
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

/// The largest file of one image, in bytes.
const MAX_XML: u64 = 32 << 20;
/// The largest list of images, in bytes.
const MAX_LIST: u64 = 256 << 20;
/// Maximum number of files in memory at a time.
const BLOCK: usize = 4096;

const BROKEN: &str = "files that can't be read";
const OBJECTS: &str = "objects without a class or a box";
const REPEATED: &str = "repeated images";

/// The location of a split's files.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The folder that file names are relative to, and the image folder below it, empty for none.
    pub root: PathBuf,
    pub images: &'static str,
    /// The folder of the XML files.
    pub files: PathBuf,
    /// The list of the split's images, or a single XML file; `None` uses all files.
    pub list: Option<PathBuf>,
}

impl Plan {
    /// The path used in messages.
    pub fn source(&self) -> &Path {
        self.list.as_deref().unwrap_or(&self.files)
    }
}

/// Reads a split. Classes are numbered by name from 1. Images without an XML file aren't in the set
/// and are counted in `warnings`.
pub fn read(plan: &Plan, faults: &mut Faults, warnings: &mut Vec<String>) -> Result<BoxSet> {
    let stems = stems(plan)?;
    let mut set = BoxSet {
        naming: Naming::Objects,
        ..BoxSet::default()
    };
    let mut classes = Classes::default();
    for block in stems.chunks(BLOCK) {
        let images = parallel::map(block, |stem| image(plan, stem));
        for (stem, image) in block.iter().zip(images) {
            match image {
                Ok((name, image)) => add(&mut set, &mut classes, &name, &image, faults),
                Err(what) => faults.push(BROKEN, || format!("{} {what}", file_of(plan, stem).display())),
            }
        }
    }
    classes.number(&mut set);
    repeated(&set, faults);
    if plan.list.is_none() {
        warnings.extend(unannotated(plan, &set));
    }
    set.images.shrink();
    set.annotations.shrink_to_fit();
    Ok(set)
}

/// The names of the XML files without extension, relative to their folder.
fn stems(plan: &Plan) -> Result<Vec<String>> {
    let Some(list) = &plan.list else {
        let files = walk(&plan.files, |name| has_ending(name, "xml")).map_err(|e| {
            PluginError::data(format!("cannot list the folder {}: {e}", plan.files.display()))
        })?;
        let stem = |name: &String| name.get(..name.len() - 4).unwrap_or_default().to_owned();
        return Ok(files.names.iter().map(stem).collect());
    };
    if list.extension().is_some_and(|e| e.eq_ignore_ascii_case("xml")) {
        let stem = list.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        return Ok(vec![stem.to_owned()]);
    }
    let failed = |what: String| PluginError::data(format!("{} {what}", list.display()));
    let bytes = limits::read(list, MAX_LIST).map_err(failed)?;
    let text = limits::utf8(&bytes).map_err(failed)?;
    let mut stems = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        // Class-specific lists have 1, 0 or -1 after the name.
        let mut cells = text.split_whitespace();
        let Some(name) = cells.next() else { continue };
        if cells.next() == Some("-1") {
            continue;
        }
        let name = name.strip_suffix(".xml").unwrap_or(name);
        let name = if is_image(name) {
            name.rsplit_once('.').map_or(name, |(stem, _)| stem)
        } else {
            name
        };
        if !is_inside(name) {
            return Err(failed(format!(
                "line {line}: {name:?} leads out of the folder; rejected"
            )));
        }
        stems.push(name.to_owned());
    }
    Ok(stems)
}

fn file_of(plan: &Plan, stem: &str) -> PathBuf {
    plan.files.join(format!("{stem}.xml"))
}

/// The image's name relative to the root, and the content of its XML file.
fn image(plan: &Plan, stem: &str) -> Result<(String, Image), String> {
    let bytes = limits::read(&file_of(plan, stem), MAX_XML)?;
    let image = parse(&bytes)?;
    let below = |name: &str| match plan.images {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    };
    // The file's `filename` is used if it exists; many tools rename or move images.
    let beside = stem.rsplit_once('/').map_or("", |(folder, _)| folder);
    let named = image.file_name.as_str();
    let mut candidates = Vec::new();
    if is_inside(named) {
        candidates.push(below(named));
        if !beside.is_empty() {
            candidates.push(below(&format!("{beside}/{named}")));
        }
    }
    let by_stem = EXTENSIONS.iter().flat_map(|ending| {
        [
            format!("{stem}.{ending}"),
            format!("{stem}.{}", ending.to_uppercase()),
        ]
    });
    let found = candidates
        .into_iter()
        .chain(by_stem.map(|name| below(&name)))
        .find(|name| plan.root.join(name).is_file());
    let name = found.unwrap_or_else(|| below(if named.is_empty() { stem } else { named }));
    Ok((name, image))
}

/// Whether a relative name stays inside its folder.
fn is_inside(name: &str) -> bool {
    let normal = |c: Component| matches!(c, Component::Normal(_) | Component::CurDir);
    !name.is_empty() && !name.contains('\0') && Path::new(name).components().all(normal)
}

fn has_ending(name: &str, ending: &str) -> bool {
    let extension = Path::new(name).extension();
    extension.is_some_and(|e| e.eq_ignore_ascii_case(ending))
}

fn add(set: &mut BoxSet, classes: &mut Classes, name: &str, image: &Image, faults: &mut Faults) {
    let image_id = set.images.len() as i64 + 1;
    set.images.push(image_id, name, image.size);
    for (id, object) in (1..).zip(&image.objects) {
        if object.name.is_empty() || !object.has_box {
            let what = if object.has_box { "name" } else { "bndbox" };
            faults.push(OBJECTS, || format!("object {id} of {name} has no `{what}`"));
            continue;
        }
        let [xmin, ymin, xmax, ymax] = object.xyxy;
        let bbox = [xmin, ymin, xmax - xmin, ymax - ymin];
        set.annotations.push(Annotation {
            id,
            image_id,
            category_id: classes.of(&object.name),
            bbox,
            area: bbox[2] * bbox[3],
            crowd: object.difficult,
        });
    }
}

/// Classes in order of first occurrence.
#[derive(Default)]
struct Classes {
    numbers: HashMap<String, i64>,
}

impl Classes {
    fn of(&mut self, name: &str) -> i64 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = self.numbers.len() as i64;
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// Renumbers the classes by name, from 1.
    fn number(self, set: &mut BoxSet) {
        let mut names: Vec<(String, i64)> = self.numbers.into_iter().collect();
        names.sort_unstable();
        let mut new = vec![0; names.len()];
        for (id, (name, old)) in (1..).zip(names) {
            if let Some(slot) = new.get_mut(old as usize) {
                *slot = id;
            }
            set.categories.push(Category {
                id,
                name,
                ..Category::default()
            });
        }
        for annotation in &mut set.annotations {
            annotation.category_id = new.get(annotation.category_id as usize).copied().unwrap_or(0);
        }
    }
}

/// Reports each image that occurs in several files.
fn repeated(set: &BoxSet, faults: &mut Faults) {
    let mut names: Vec<&str> = set.images.names().collect();
    names.sort_unstable();
    for same in names.chunk_by(|a, b| a == b).filter(|same| same.len() > 1) {
        faults.push(REPEATED, || {
            format!(
                "{} files describe the image {}",
                same.len(),
                same.first().unwrap_or(&"")
            )
        });
    }
}

/// A warning about images without an XML file, if there are any.
fn unannotated(plan: &Plan, set: &BoxSet) -> Option<String> {
    let folder = plan.root.join(plan.images);
    let images = walk(&folder, is_image).ok()?.names.len();
    let lacking = images.checked_sub(set.images.len()).filter(|n| *n > 0)?;
    Some(format!(
        "{}: {lacking} of {images} images have no XML file and are skipped; an XML file without \
         objects marks an image without objects",
        folder.display()
    ))
}

#[cfg(test)]
mod tests;

//! YOLO: one text file per image, and `data.yaml` with the class names and the folders of the
//! splits.

mod data_yaml;
mod find;
mod labels;

pub use data_yaml::{DataYaml, parse as parse_data_yaml};
pub use labels::{Labels, Row, parse as parse_labels};

use crate::boxes::{Annotation, BoxSet, Category, Naming};
use crate::{limits, parallel};
use cvhost_datasets::Faults;
use cvhost_plugin_api::{PluginError, Result};
pub(crate) use find::LabelFolders;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Maximum size of a label file, in bytes.
const MAX_LABELS: u64 = 32 << 20;
/// Maximum size of a class name list, in bytes.
const MAX_NAMES: u64 = 4 << 20;
/// Maximum number of files in memory at a time.
const BLOCK: usize = 4096;
/// Maximum number of names in a message.
const MAX_LISTED_NAMES: usize = 5;
/// Files with class names next to the labels.
const NAME_FILES: [&str; 3] = ["classes.txt", "obj.names", "classes.names"];

const BROKEN: &str = "files that can't be read";
const ROWS: &str = "rows that can't be read";
const CLASSES: &str = "wrong classes";

/// The location of a split's files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The configured folder: that of the images or of the dataset.
    pub root: PathBuf,
    pub yaml: Option<PathBuf>,
    /// A list of the split's images.
    pub list: Option<PathBuf>,
    /// The folder of the labels; without one, they are searched for next to the images.
    pub labels: Option<PathBuf>,
}

impl Plan {
    /// The path used in messages.
    pub fn source(&self) -> &Path {
        let named = self.list.as_deref().or(self.yaml.as_deref());
        named.or(self.labels.as_deref()).unwrap_or(&self.root)
    }
}

/// Reads a split. Its boxes are relative to the image's sides, since the files don't contain image
/// sizes. `class_names` are the configured ones, used if no file names the classes.
pub fn read(
    plan: &Plan,
    split: &str,
    class_names: &[String],
    faults: &mut Faults,
    warnings: &mut Vec<String>,
) -> Result<BoxSet> {
    let data = match &plan.yaml {
        Some(path) => DataYaml::open(path).map_err(|what| {
            PluginError::data(format!("{}: {what}", path.display())).with_help(
                "data.yaml has `names` (a list, or a map from class numbers) and, for each split, a folder",
            )
        })?,
        None => DataYaml::default(),
    };
    let images = find::images(plan, &data, split)?;
    let folders = LabelFolders::new(plan);
    let mut set = BoxSet {
        relative: true,
        naming: Naming::Lines,
        ..BoxSet::default()
    };
    let keypoints = data.keypoint_numbers();
    let (mut unlabelled, mut highest, mut used) = (0, None, HashSet::new());
    for block in images.chunks(BLOCK) {
        let read = parallel::map(block, |image| labels_of(&folders, image, keypoints));
        for (image, labels) in block.iter().zip(read) {
            let image_id = set.images.len() as i64 + 1;
            set.images.push(image_id, image, (0, 0));
            match labels {
                Ok(Some((folder, labels))) => {
                    used.insert(folder);
                    add(&mut set, image_id, &labels.rows);
                    highest = labels.rows.iter().map(|row| row.class).max().max(highest);
                    for (line, what) in labels.faults {
                        faults.push(ROWS, || format!("line {line} of the labels of {image}: {what}"));
                    }
                }
                Ok(None) => unlabelled += 1,
                Err(what) => faults.push(BROKEN, || what),
            }
        }
    }
    if used.is_empty() && unlabelled > 0 {
        let first = images.first().map_or("", String::as_str);
        let looked = folders
            .candidates(first)
            .map(|file| format!("there is no {}", file.display()));
        let message = format!(
            "no image of the {split} split has a label file, {}",
            plan.source().display()
        );
        return Err(PluginError::data(message).with_details(looked).with_help(
            "labels are expected in `labels` next to `images`, or next to their images; otherwise set \
             `data.<split>_annotation_file` to their folder",
        ));
    }
    if unlabelled > 0 {
        warnings.push(format!(
            "{}: {unlabelled} of {} images have no label file and count as images without objects",
            plan.source().display(),
            images.len()
        ));
    }
    if plan.list.is_none() {
        warnings.extend(used.iter().filter_map(|folder| orphans(folder, &images)));
    }
    set.categories = categories(plan, &data, class_names, &used, highest, faults, warnings)?;
    set.images.shrink();
    set.annotations.shrink_to_fit();
    Ok(set)
}

/// The labels of an image and the folder they were found in, if there are any.
fn labels_of(
    folders: &LabelFolders,
    image: &str,
    keypoints: Option<usize>,
) -> Result<Option<(PathBuf, Labels)>, String> {
    for file in folders.candidates(image) {
        if !file.is_file() {
            continue;
        }
        let bytes = limits::read(&file, MAX_LABELS).map_err(|what| format!("{} {what}", file.display()))?;
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        return Ok(Some((folder, parse_labels(&bytes, keypoints))));
    }
    Ok(None)
}

fn add(set: &mut BoxSet, image_id: i64, rows: &[Row]) {
    set.annotations.extend(rows.iter().map(|row| Annotation {
        id: i64::from(row.line),
        image_id,
        category_id: i64::from(row.class),
        bbox: row.xywh,
        area: row.xywh[2] * row.xywh[3],
        crowd: false,
    }));
}

/// A warning about label files without an image, if there are any.
fn orphans(folder: &Path, images: &[String]) -> Option<String> {
    let stem = |name: &str| {
        Path::new(name)
            .file_stem()
            .and_then(|s| s.to_str())
            .map(str::to_owned)
    };
    let stems: HashSet<String> = images.iter().filter_map(|name| stem(name)).collect();
    let mut lacking: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".txt") && !NAME_FILES.contains(&name.as_str()))
        .filter(|name| stem(name).is_some_and(|stem| !stems.contains(&stem)))
        .collect();
    lacking.sort_unstable();
    let names: Vec<&str> = lacking
        .iter()
        .take(MAX_LISTED_NAMES)
        .map(String::as_str)
        .collect();
    (!lacking.is_empty()).then(|| {
        format!(
            "{}: {} label files have no image and are skipped: {}{}",
            folder.display(),
            lacking.len(),
            names.join(", "),
            if lacking.len() > MAX_LISTED_NAMES {
                " …"
            } else {
                ""
            }
        )
    })
}

/// The classes, from the first available source: `data.yaml`, a name list next to the labels, the
/// configuration, or plain numbers.
fn categories(
    plan: &Plan,
    data: &DataYaml,
    class_names: &[String],
    folders: &HashSet<PathBuf>,
    highest: Option<u32>,
    faults: &mut Faults,
    warnings: &mut Vec<String>,
) -> Result<Vec<Category>> {
    let numbered = |names: Vec<String>| (0..).zip(names).collect::<Vec<(i64, String)>>();
    let mut names = data.names.clone();
    if let (Some(path), Some(nc)) = (&plan.yaml, data.nc)
        && !names.is_empty()
        && nc != names.len() as i64
    {
        let count = names.len();
        faults.push(CLASSES, || {
            format!("{}: `nc` is {nc}, but there are {count} `names`", path.display())
        });
    }
    if names.is_empty() {
        names = numbered(names_beside(plan, folders)?);
    }
    if names.is_empty() {
        names = numbered(class_names.to_vec());
    }
    if names.is_empty() {
        names = numbered((0..=highest.unwrap_or(0)).map(|n| n.to_string()).collect());
        warnings.push(format!(
            "{}: no class names found (`names` in data.yaml, classes.txt next to the labels, or \
             `model.class_names`); the class numbers are used as names",
            plan.source().display()
        ));
    }
    Ok(names
        .into_iter()
        .map(|(id, name)| Category {
            id,
            name,
            ..Category::default()
        })
        .collect())
}

fn names_beside(plan: &Plan, folders: &HashSet<PathBuf>) -> Result<Vec<String>> {
    let mut folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    folders.sort_unstable();
    let around = folders
        .iter()
        .flat_map(|folder| [Some(*folder), folder.parent()])
        .flatten();
    for folder in around.chain([plan.root.as_path()]) {
        for file in NAME_FILES.map(|name| folder.join(name)) {
            if !file.is_file() {
                continue;
            }
            let failed = |what: String| PluginError::data(format!("{} {what}", file.display()));
            let bytes = limits::read(&file, MAX_NAMES).map_err(failed)?;
            let text = limits::utf8(&bytes).map_err(failed)?;
            let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
            return Ok(names.map(str::to_owned).collect());
        }
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests;

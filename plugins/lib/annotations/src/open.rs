//! Reads the boxes of a split in any supported format.

use crate::boxes::{BoxSet, Category};
use crate::coco::{self, ShapeFault, Wanted};
use crate::plan::{self, Plan};
use crate::{csv, voc, yolo};
use cvhost_datasets::Faults;
use cvhost_plugin_api::{PluginError, Result};
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The format of a split's annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Detected from the files present.
    #[default]
    Auto,
    Coco,
    Voc,
    Yolo,
    Csv,
}

impl Format {
    /// The name used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Format::Auto => "auto",
            Format::Coco => "COCO",
            Format::Voc => "Pascal VOC",
            Format::Yolo => "YOLO",
            Format::Csv => "CSV",
        }
    }
}

/// A split as given in the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `train`, `val` or `test`; used for the configuration keys in errors.
    pub split: &'a str,
    /// The folder of its images, or of the whole dataset.
    pub images: &'a Path,
    /// Its annotations; empty to search for them.
    pub annotations: &'a Path,
    pub format: Format,
    /// `model.class_names`; empty if not configured.
    pub class_names: &'a [String],
    pub wanted: Wanted,
}

/// A split's boxes. Apart from `faults`, they aren't validated yet.
#[derive(Debug)]
pub struct Found {
    pub set: BoxSet,
    pub format: Format,
    /// The folder that file names are relative to.
    pub root: PathBuf,
    /// The file or the folder of files that the boxes were read from.
    pub source: PathBuf,
    /// Whether the classes are only those that occur, so that another split may have different
    /// ones.
    pub classes_by_use: bool,
    /// Errors that make the split unusable.
    pub faults: Faults,
    pub warnings: Vec<String>,
    /// For a COCO file: indices of annotations with an invalid shape.
    pub shape_faults: Vec<(u32, ShapeFault)>,
    /// For a COCO file, if requested.
    pub shapes: Option<coco::Shapes>,
    pub keypoints: Option<coco::Keypoints>,
}

/// Detects the format of a split's annotations, logs it and reads them.
///
/// # Errors
/// No readable annotations, or a file that is invalid as a whole. Errors in single rows and entries
/// are in [`Found::faults`].
pub fn open(request: &Request) -> Result<Found> {
    let (plan, warning) = plan(request)?;
    read(&plan, warning, request)
}

/// The location of a split's annotations.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    pub format: Format,
    /// The folder that file names are relative to.
    pub root: PathBuf,
    /// The file or the folder of files.
    pub source: PathBuf,
}

/// Detects the format and location of a split's annotations without reading them.
///
/// # Errors
/// No readable annotations.
pub fn locate(request: &Request) -> Result<Located> {
    let (plan, _) = plan(request)?;
    Ok(Located {
        format: plan.format(),
        root: plan.root().to_owned(),
        source: plan.source().to_owned(),
    })
}

fn plan(request: &Request) -> Result<(Plan, Option<String>)> {
    if !request.images.is_dir() {
        let key = format!("data.{}_data_path", request.split);
        let what = if request.images.exists() {
            "is not a folder"
        } else {
            "does not exist"
        };
        let message = format!(
            "the folder of the {} images, {}, {what}",
            request.split,
            request.images.display()
        );
        return Err(
            PluginError::config(&key, message).with_help(format!("set `{key}` to the images' folder"))
        );
    }
    plan::make(request)
}

fn read(plan: &Plan, warning: Option<String>, request: &Request) -> Result<Found> {
    let mut found = Found {
        set: BoxSet::default(),
        format: plan.format(),
        root: plan.root().to_owned(),
        source: plan.source().to_owned(),
        classes_by_use: matches!(plan, Plan::Voc(_) | Plan::Csv { .. }),
        faults: Faults::default(),
        warnings: warning.into_iter().collect(),
        shape_faults: Vec::new(),
        shapes: None,
        keypoints: None,
    };
    let prefix = if request.format == Format::Auto {
        "data.format: auto: "
    } else {
        ""
    };
    tracing::info!(
        "{prefix}the {} annotations are {}, {}",
        request.split,
        found.format.name(),
        found.source.display()
    );
    match plan {
        Plan::Coco { file, .. } => read_coco(file, request.wanted, &mut found)?,
        Plan::Csv { file, .. } => found.set = read_csv(file, &mut found.faults)?,
        Plan::Voc(plan) => found.set = voc::read(plan, &mut found.faults, &mut found.warnings)?,
        Plan::Yolo(plan) => {
            let Found { faults, warnings, .. } = &mut found;
            found.set = yolo::read(plan, request.split, request.class_names, faults, warnings)?;
        }
    }
    Ok(found)
}

fn read_coco(file: &Path, wanted: Wanted, found: &mut Found) -> Result<()> {
    let mut document = coco::open(file, wanted)?;
    if document.panoptic.is_some() {
        let (segments, categories) = document.leave_things();
        let stuff: String = match categories {
            0 => "no category has `isthing`: all count as things".to_owned(),
            _ => {
                format!("{segments} segments of {categories} stuff categories have no boxes and are skipped")
            }
        };
        found
            .warnings
            .push(format!("{}: panoptic annotations: {stuff}", file.display()));
    }
    found.set = document.set;
    found.shape_faults = document.shape_faults;
    found.shapes = document.shapes;
    found.keypoints = document.keypoints;
    Ok(())
}

fn read_csv(file: &Path, faults: &mut Faults) -> Result<BoxSet> {
    let failed = |what: String| PluginError::data(format!("{}: {what}", file.display()));
    let reader = File::open(file).map_err(|e| failed(e.to_string()))?;
    let tabs = file.extension().is_some_and(|e| e.eq_ignore_ascii_case("tsv"));
    let delimiter = if tabs { b'\t' } else { b',' };
    csv::read(reader, delimiter, faults).map_err(|what| failed(what).with_help(csv::EXPECTED))
}

impl BoxSet {
    /// Renumbers the classes by name, from 1: first `known` in order, then those of the set that
    /// are not among them.
    pub fn number_classes(&mut self, known: &[String]) {
        let own: Vec<Category> = self.categories.drain(..).collect();
        let mut numbers: HashMap<&str, i64> = HashMap::with_capacity(own.len());
        let mut new: HashMap<i64, i64> = HashMap::with_capacity(own.len());
        let names = known.iter().chain(own.iter().map(|c| &c.name));
        for name in names {
            let next = numbers.len() as i64 + 1;
            if *numbers.entry(name.as_str()).or_insert(next) == next {
                self.categories.push(Category {
                    id: next,
                    name: name.clone(),
                    ..Category::default()
                });
            }
        }
        for category in &own {
            new.extend(numbers.get(category.name.as_str()).map(|id| (category.id, *id)));
        }
        for annotation in &mut self.annotations {
            if let Some(id) = new.get(&annotation.category_id) {
                annotation.category_id = *id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boxes::Annotation;
    use std::time::Instant;

    fn set(classes: usize) -> BoxSet {
        let mut set = BoxSet::default();
        for id in (0..classes as i64).rev() {
            set.categories.push(Category {
                id,
                name: format!("class {id}"),
                ..Category::default()
            });
            set.annotations.push(Annotation {
                id,
                image_id: 1,
                category_id: id,
                bbox: [0.0; 4],
                area: 0.0,
                crowd: false,
            });
        }
        set
    }

    #[test]
    fn known_classes_come_first_and_the_others_follow() {
        let mut set = set(3);
        set.number_classes(&["class 1".to_owned(), "other".to_owned()]);
        let names: Vec<(i64, &str)> = set.categories.iter().map(|c| (c.id, c.name.as_str())).collect();
        assert_eq!(
            names,
            [(1, "class 1"), (2, "other"), (3, "class 2"), (4, "class 0")]
        );
        let of: Vec<i64> = set.annotations.iter().map(|a| a.category_id).collect();
        assert_eq!(of, [3, 1, 4]);
    }

    #[test]
    fn one_class_per_row_from_a_wrong_column_takes_no_longer_than_reading() {
        let begin = Instant::now();
        let mut set = set(300_000);
        set.number_classes(&[]);
        assert_eq!(set.categories.len(), 300_000);
        assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
    }
}

//! Opens the boxes of a split, in whatever format they are.

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
    /// What is there tells.
    #[default]
    Auto,
    Coco,
    Voc,
    Yolo,
    Csv,
}

impl Format {
    /// How messages call it.
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

/// What the configuration says of a split.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `train`, `val` or `test`; names the configuration's keys in errors.
    pub split: &'a str,
    /// The folder of its images, or of the data set.
    pub images: &'a Path,
    /// Its annotations; empty where they are to be looked for.
    pub annotations: &'a Path,
    pub format: Format,
    /// `model.class_names`; empty where the configuration has none.
    pub class_names: &'a [String],
    pub wanted: Wanted,
}

/// A split's boxes. What is wrong with them beyond `faults` isn't known yet.
#[derive(Debug)]
pub struct Found {
    pub set: BoxSet,
    pub format: Format,
    /// The folder that file names start from.
    pub root: PathBuf,
    /// The file, or the folder of files, that the boxes are from.
    pub source: PathBuf,
    /// Whether the classes are those that occur, so that another split may have others.
    pub classes_by_use: bool,
    /// Refuses the split.
    pub faults: Faults,
    pub warnings: Vec<String>,
    /// Of a COCO file: indices of annotations whose shape isn't right.
    pub shape_faults: Vec<(u32, ShapeFault)>,
    /// Of a COCO file, where wanted.
    pub shapes: Option<coco::Shapes>,
    pub keypoints: Option<coco::Keypoints>,
}

/// Finds out what a split's annotations are, says so in the log, and reads them.
///
/// # Errors
/// Nothing there that can be read, or a file that is broken as a whole. What is wrong in single rows and entries is in
/// [`Found::faults`].
pub fn open(request: &Request) -> Result<Found> {
    let (plan, warning) = plan(request)?;
    read(&plan, warning, request)
}

/// Where a split's annotations are.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    pub format: Format,
    /// The folder that file names start from.
    pub root: PathBuf,
    /// The file, or the folder of files.
    pub source: PathBuf,
}

/// Finds out what a split's annotations are, without reading them.
///
/// # Errors
/// Nothing there that can be read.
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
    let told = if request.format == Format::Auto {
        "data.format: auto: "
    } else {
        ""
    };
    tracing::info!(
        "{told}the {} annotations are {}, {}",
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
            0 => "no category has `isthing`: all are taken for things".to_owned(),
            _ => format!(
                "{segments} segments of {categories} categories of stuff are no boxes and are left out"
            ),
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
    /// Numbers classes by name, from 1: `known` in their order, then those of the set that are not among them.
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
    fn a_class_a_row_which_a_wrong_column_gives_takes_no_longer_than_reading() {
        let begin = Instant::now();
        let mut set = set(300_000);
        set.number_classes(&[]);
        assert_eq!(set.categories.len(), 300_000);
        assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
    }
}

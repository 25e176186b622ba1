//! A split of a detection dataset.
//!
//! To reproduce COCO's metrics, the evaluation compares with the annotations as in the file,
//! including those that `data.box_policy` changes or drops as training targets. They are passed as
//! the opaque field `ground_truth`: `[M, 7]` f64, rows of label, x, y, width, height (pixels, as in
//! the file), area (square pixels), iscrowd.

use crate::boxes::{self, BoxPolicy};
use crate::checks::{box_warnings, check, frame, shape_warnings};
use crate::config::DataKeys;
use crate::labels::{self, Labels};
use cvhost_annotations::{Annotation, BoxSet, ByImage, Found, Located, Request};
use cvhost_datasets::upright_size;
use cvhost_plugin_api::data::{
    Array, Fields, ImageSource, LabelSpec, OpenArgs, Problem, Record, RecordArgs, RecordMeta, Role,
};
use cvhost_plugin_api::forms::detection as forms;
use cvhost_plugin_api::sdk::DataSet;
use cvhost_plugin_api::{PluginError, Result};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// One row of `ground_truth`.
type TruthRow = [f64; 7];

pub struct DetectionDataSet {
    root: PathBuf,
    set: BoxSet,
    groups: ByImage,
    policy: BoxPolicy,
    spec: LabelSpec,
    label_of: HashMap<i64, i64>,
    problems: Vec<Problem>,
}

impl DetectionDataSet {
    /// Reads and checks a split. All problems that prevent its use are reported in one error.
    pub fn open(args: &OpenArgs) -> Result<Self> {
        let policy = DataKeys::read(&args.config)?.box_policy;
        let split = args.split.as_str();
        let mut found = find(args)?;
        if found.set.images.is_empty() {
            let source = found.source.display();
            let what = format!("{source}: the {split} split has no images");
            return Err(PluginError::data(what).with_help(format!(
                "check `data.{split}_annotation_file` and `data.{split}_data_path`; in a COCO \
                 file, `images` is empty"
            )));
        }
        check(&mut found, split, policy)?;
        let used: HashSet<i64> = found.set.annotations.iter().map(|a| a.category_id).collect();
        let Labels {
            spec,
            by_id,
            warnings,
        } = labels::choose(&found.set.categories, &used, args)?;
        let mut problems: Vec<Problem> = found.warnings.iter().map(Problem::warning).collect();
        problems.extend(warnings);
        problems.extend(box_warnings(&found.set, policy));
        problems.extend(shape_warnings(&found));
        if found.set.annotations.is_empty() {
            let source = found.source.display();
            problems.push(Problem::warning(format!(
                "{source}: the {split} split has no annotated boxes"
            )));
        }
        Ok(DetectionDataSet {
            root: found.root,
            groups: found.set.by_image(),
            set: found.set,
            policy,
            spec,
            label_of: by_id,
            problems,
        })
    }

    fn check_index(&self, index: usize) -> Result<()> {
        let count = self.set.images.len();
        if index < count {
            return Ok(());
        }
        Err(PluginError::failed(format!(
            "record {index} is out of range: the dataset has {count} records"
        )))
    }

    /// The annotations of an image with their labels, in file order.
    fn objects(&self, index: usize) -> impl Iterator<Item = (&Annotation, i64)> {
        self.groups.of(index).filter_map(|i| {
            let annotation = self.set.annotations.get(i)?;
            Some((annotation, *self.label_of.get(&annotation.category_id)?))
        })
    }
}

/// Finds and reads the annotations of a split and numbers its classes.
pub fn find(args: &OpenArgs) -> Result<Found> {
    check_folder(args)?;
    let class_names = strings(&args.config["model"]["class_names"]);
    let mut found = cvhost_annotations::open(&Request {
        class_names: &class_names,
        ..request(&args.split, &args.images, &args.annotations, &args.config)?
    })?;
    if found.classes_by_use {
        // Validation needs all classes of the training split, including those without images.
        let known = if class_names.is_empty() {
            training_classes(args)
        } else {
            class_names
        };
        found.set.number_classes(&known);
    }
    Ok(found)
}

/// Finds the annotations of a split.
pub fn locate(args: &OpenArgs) -> Result<Located> {
    check_folder(args)?;
    cvhost_annotations::locate(&request(
        &args.split,
        &args.images,
        &args.annotations,
        &args.config,
    )?)
}

fn check_folder(args: &OpenArgs) -> Result<()> {
    let split = args.split.as_str();
    if !args.images.is_empty() {
        return Ok(());
    }
    let key = format!("data.{split}_data_path");
    let message = format!("the folder of the {split} images is not set");
    Err(PluginError::config(&key, message).with_help(format!(
        "set `{key}`, and `data.{split}_annotation_file` to the annotations if they aren't next to the images"
    )))
}

fn request<'a>(split: &'a str, images: &'a str, annotations: &'a str, config: &Value) -> Result<Request<'a>> {
    Ok(Request {
        split,
        images: Path::new(images),
        annotations: Path::new(annotations),
        format: DataKeys::read(config)?.format.into(),
        class_names: &[],
        wanted: Default::default(),
    })
}

/// The classes of the training split, used for the other splits; empty if it can't be read, for
/// example when only a checkpoint is evaluated.
fn training_classes(args: &OpenArgs) -> Vec<String> {
    let path = |key: &str| args.config["data"][key].as_str().unwrap_or_default();
    let images = path("train_data_path");
    if args.split == "train" || images.is_empty() {
        return Vec::new();
    }
    let found = request("train", images, path("train_annotation_file"), &args.config)
        .and_then(|request| cvhost_annotations::open(&request));
    let categories = found.map_or(Vec::new(), |found| found.set.categories);
    let mut names: Vec<String> = categories.into_iter().map(|c| c.name).collect();
    names.sort_unstable();
    names
}

fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().map_or(&[][..], Vec::as_slice);
    list.iter()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

impl DataSet for DetectionDataSet {
    fn spec(&self) -> LabelSpec {
        self.spec.clone()
    }

    fn len(&self) -> usize {
        self.set.images.len()
    }

    fn problems(&self) -> Vec<Problem> {
        self.problems.clone()
    }

    fn name(&self, index: usize) -> Result<String> {
        self.check_index(index)?;
        Ok(self.set.name_of_image(index))
    }

    /// Classes are those of the targets, one per object. Sizes are 0 if the annotations don't give
    /// them.
    fn meta(&self, index: usize) -> Result<RecordMeta> {
        self.check_index(index)?;
        let frame = frame(&self.set, Some(index));
        let classes: Vec<i64> = self
            .objects(index)
            .filter(|(annotation, _)| boxes::target(annotation.bbox, frame, self.policy).is_some())
            .map(|(_, label)| label)
            .collect();
        let (width, height) = self.set.images.size(index);
        Ok(RecordMeta {
            width,
            height,
            classes: classes.into(),
            extra: Default::default(),
        })
    }

    fn record(&self, args: &RecordArgs) -> Result<Record> {
        let index = args.index as usize;
        self.check_index(index)?;
        let images = &self.set.images;
        let path = self.root.join(images.name(index));
        let frame = frame(&self.set, Some(index));
        // Factors from the annotations' unit to pixels.
        let [to_x, to_y] = if self.set.relative {
            let (width, height) = upright_size(&path)?;
            [f64::from(width), f64::from(height)]
        } else {
            [1.0, 1.0]
        };
        let mut truth: Vec<TruthRow> = Vec::new();
        let (mut xyxy, mut labels, mut areas, mut crowd) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (annotation, label) in self.objects(index) {
            let [x, y, w, h] = annotation.bbox;
            let area = annotation.area * to_x * to_y;
            let flag = u8::from(annotation.crowd);
            if annotation.bbox.iter().all(|v| v.is_finite()) {
                let row = [x * to_x, y * to_y, w * to_x, h * to_y];
                truth.push([
                    label as f64,
                    row[0],
                    row[1],
                    row[2],
                    row[3],
                    area,
                    f64::from(flag),
                ]);
            }
            let Some([x1, y1, x2, y2]) = boxes::target(annotation.bbox, frame, self.policy) else {
                continue;
            };
            let target = [x1 * to_x, y1 * to_y, x2 * to_x, y2 * to_y];
            xyxy.push(target);
            labels.push(label);
            // The object's area can't exceed that of the clipped box.
            areas.push(area.min((target[2] - target[0]) * (target[3] - target[1])));
            crowd.push(flag);
        }
        let id = images.id(index).unwrap_or_default();
        let fields = Fields::new()
            .with(forms::BOXES, Role::BOXES, Array::rows(&xyxy))
            .with(forms::CLASS_LABELS, Role::COLUMN, Array::vector(&labels))
            .with("area", Role::COLUMN, Array::vector(&areas))
            .with("iscrowd", Role::COLUMN, Array::vector(&crowd))
            .with("image_id", Role::OPAQUE, Array::vector(&[id]))
            .with("ground_truth", Role::OPAQUE, Array::rows(&truth));
        Ok(Record {
            name: self.set.name_of_image(index).into(),
            images: vec![ImageSource::file(path.to_string_lossy())].into(),
            fields,
            ..Default::default()
        })
    }
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "formats_tests.rs"]
mod formats_tests;

#[cfg(test)]
#[path = "memory_tests.rs"]
mod memory_tests;

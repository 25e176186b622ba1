//! A split of a COCO data set.
//!
//! The evaluation must give COCO's numbers, so it compares with the file's own annotations, also those that
//! `data.box_policy` changes or leaves out as training targets. They travel as the opaque field `ground_truth`: `[M, 7]`
//! f64, rows of label, x, y, width, height (pixels, as in the file), area (square pixels), iscrowd.

use crate::boxes::{self, BoxPolicy};
use crate::checks::{box_warnings, check};
use crate::coco::{self, Annotation, Coco, Image};
use crate::config::DataKeys;
use crate::labels::{self, Labels};
use cvhost_plugin_api::data::{
    Array, Fields, LabelSpec, OpenArgs, PictureSource, Problem, Record, RecordMeta, Role,
};
use cvhost_plugin_api::sdk::DataSet;
use cvhost_plugin_api::{PluginError, Result};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Where a split's annotations are looked for in its picture folder when the configuration names none.
const USUAL_FILES: [&str; 2] = ["_annotations.coco.json", "annotations.json"];

/// One row of `ground_truth`.
type TruthRow = [f64; 7];

pub struct CocoDataSet {
    root: PathBuf,
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    /// Indices of annotations, image by image in the order of `images`, within an image in the file's order.
    order: Vec<u32>,
    /// Image `i` has `order[starts[i]..starts[i + 1]]`.
    starts: Vec<u32>,
    policy: BoxPolicy,
    spec: LabelSpec,
    label_of: HashMap<i64, i64>,
    problems: Vec<Problem>,
}

impl CocoDataSet {
    /// Reads and checks a split. All that prevents its use comes in one error.
    pub fn open(args: &OpenArgs) -> Result<Self> {
        let policy = DataKeys::read(&args.config)?.box_policy;
        let split = args.split.as_str();
        if args.pictures.is_empty() {
            let key = format!("data.{split}_data_path");
            return Err(
                PluginError::config(&key, format!("there is no folder with the {split} pictures")).with_help(
                    format!("set `{key}`, and `data.{split}_annotation_file` to their COCO JSON file"),
                ),
            );
        }
        let root = PathBuf::from(&args.pictures);
        let file = annotation_file(args, &root)?;
        let coco = coco::read(&file)?;
        if coco.images.is_empty() {
            return Err(
                PluginError::data(format!("{}: the {split} split has no pictures", file.display()))
                    .with_help(format!("`images` is empty; check `data.{split}_annotation_file`")),
            );
        }
        check(&coco, &root, &file, split, policy)?;

        let used: HashSet<i64> = coco.annotations.iter().map(|a| a.category_id).collect();
        let Labels {
            spec,
            by_id,
            warnings,
        } = labels::choose(&coco.categories, &used, args)?;
        let mut problems = warnings;
        problems.extend(box_warnings(&coco, policy));
        if coco.annotations.is_empty() {
            problems.push(Problem::warning(format!(
                "{}: the {split} split has no annotated boxes",
                file.display()
            )));
        }
        let (order, starts) = by_image(&coco);
        let Coco {
            images, annotations, ..
        } = coco;
        Ok(CocoDataSet {
            root,
            images,
            annotations,
            order,
            starts,
            policy,
            spec,
            label_of: by_id,
            problems,
        })
    }

    fn image(&self, index: usize) -> Result<&Image> {
        self.images.get(index).ok_or_else(|| {
            PluginError::failed(format!(
                "record {index} of a data set with {} records",
                self.images.len()
            ))
        })
    }

    /// The annotations of an image with their labels, in the file's order.
    fn objects(&self, index: usize) -> impl Iterator<Item = (&Annotation, i64)> {
        let bound = |i: usize| self.starts.get(i).map_or(0, |&s| s as usize);
        let order = self.order.get(bound(index)..bound(index + 1)).unwrap_or(&[]);
        order.iter().filter_map(|&i| {
            let annotation = self.annotations.get(i as usize)?;
            Some((annotation, *self.label_of.get(&annotation.category_id)?))
        })
    }
}

impl DataSet for CocoDataSet {
    fn spec(&self) -> LabelSpec {
        self.spec.clone()
    }

    fn len(&self) -> usize {
        self.images.len()
    }

    fn problems(&self) -> Vec<Problem> {
        self.problems.clone()
    }

    fn meta(&self, index: usize) -> Result<RecordMeta> {
        let image = self.image(index)?;
        let mut classes: Vec<i64> = self.objects(index).map(|(_, label)| label).collect();
        classes.sort_unstable();
        classes.dedup();
        Ok(RecordMeta {
            width: image.width,
            height: image.height,
            classes: classes.into(),
        })
    }

    fn record(&self, index: usize) -> Result<Record> {
        let image = self.image(index)?;
        let mut truth: Vec<TruthRow> = Vec::new();
        let (mut xyxy, mut labels, mut areas, mut crowd) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (annotation, label) in self.objects(index) {
            let [x, y, w, h] = annotation.bbox;
            if annotation.bbox.iter().all(|v| v.is_finite()) {
                truth.push([
                    label as f64,
                    x,
                    y,
                    w,
                    h,
                    annotation.area,
                    f64::from(u8::from(annotation.crowd)),
                ]);
            }
            let Some(target) = boxes::target(annotation.bbox, (image.width, image.height), self.policy)
            else {
                continue;
            };
            xyxy.push(target);
            labels.push(label);
            // A clipped box can't hold more than its own area.
            areas.push(
                annotation
                    .area
                    .min((target[2] - target[0]) * (target[3] - target[1])),
            );
            crowd.push(u8::from(annotation.crowd));
        }
        let fields = Fields::new()
            .with("boxes", Role::BOXES, Array::rows(&xyxy))
            .with("class_labels", Role::COLUMN, Array::vector(&labels))
            .with("area", Role::COLUMN, Array::vector(&areas))
            .with("iscrowd", Role::COLUMN, Array::vector(&crowd))
            .with("image_id", Role::OPAQUE, Array::vector(&[image.id]))
            .with("ground_truth", Role::OPAQUE, Array::rows(&truth));
        Ok(Record {
            name: format!("image {} ({})", image.id, image.file_name).into(),
            pictures: vec![PictureSource::file(
                self.root.join(&*image.file_name).to_string_lossy(),
            )]
            .into(),
            fields,
            ..Default::default()
        })
    }
}

/// The annotation file that is configured, or the usual ones beside the pictures.
fn annotation_file(args: &OpenArgs, root: &Path) -> Result<PathBuf> {
    let key = format!("data.{}_annotation_file", args.split);
    let (candidates, help) = if args.annotations.is_empty() {
        let candidates = USUAL_FILES.iter().map(|name| root.join(name)).collect();
        (candidates, format!("set `{key}` to a COCO JSON file"))
    } else {
        (
            vec![PathBuf::from(&args.annotations)],
            format!("`{key}` must be a COCO JSON file"),
        )
    };
    if let Some(found) = candidates.iter().find(|path| path.is_file()) {
        return Ok(found.clone());
    }
    let looked = candidates
        .iter()
        .map(|path| format!("there is no file {}", path.display()));
    let message = format!("the annotations of the {} split were not found", args.split);
    Err(PluginError::config(&key, message)
        .with_details(looked)
        .with_help(help))
}

/// Indices of the annotations grouped by image, and where each image's begin. Every annotation's image is known.
fn by_image(coco: &Coco) -> (Vec<u32>, Vec<u32>) {
    let index_of: HashMap<i64, u32> = coco
        .images
        .iter()
        .zip(0..)
        .map(|(image, i)| (image.id, i))
        .collect();
    let image_of: Vec<u32> = coco
        .annotations
        .iter()
        .map(|a| index_of.get(&a.image_id).copied().unwrap_or(u32::MAX))
        .collect();
    let key = |i: &u32| image_of.get(*i as usize).copied();
    let mut order: Vec<u32> = (0..image_of.len() as u32).collect();
    order.sort_by_key(key); // stable: the file's order stays within an image
    let starts = (0..=coco.images.len() as u32)
        .map(|image| order.partition_point(|i| key(i) < Some(image)) as u32)
        .collect();
    (order, starts)
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod tests;

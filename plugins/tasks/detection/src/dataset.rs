//! A split of a COCO data set.
//!
//! The evaluation must give COCO's numbers, so it compares with the file's own annotations, also those that
//! `data.box_policy` changes or leaves out as training targets. They travel as the opaque field `ground_truth`: `[M, 7]`
//! f64, rows of label, x, y, width, height (pixels, as in the file), area (square pixels), iscrowd.

use crate::boxes::{self, BoxFault, BoxPolicy};
use crate::coco::{self, Annotation, Coco, Image};
use crate::config::DataKeys;
use crate::labels::{self, Labels};
use crate::pictures;
use crate::problems::{Faults, Tally};
use cvhost_plugin_api::data::{
    Array, Fields, LabelSpec, OpenArgs, PictureSource, Problem, Record, RecordMeta, Role,
};
use cvhost_plugin_api::sdk::DataSet;
use cvhost_plugin_api::{PluginError, Result};
use std::collections::{BTreeMap, HashMap, HashSet};
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

/// Everything that refuses a split, in one report.
fn check(coco: &Coco, root: &Path, file: &Path, split: &str, policy: BoxPolicy) -> Result<()> {
    let mut faults = Faults::default();
    check_ids(coco, &mut faults);
    check_categories(coco, &mut faults);
    pictures::check(root, split, &coco.images, &mut faults)?;
    let mut help =
        format!("mend the annotation file; its file names start from the folder in `data.{split}_data_path`");
    if policy == BoxPolicy::Error {
        let sizes = sizes(coco);
        for (annotation, fault) in faulty_boxes(coco, &sizes) {
            let Annotation {
                id, image_id, bbox, ..
            } = annotation;
            faults.push("wrong boxes", || {
                format!("annotation {id} of image {image_id}: box {bbox:?}: {fault}")
            });
        }
        help += "; `data.box_policy: clip` or `drop` goes on without the boxes that aren't right";
    }
    faults.into_result(
        &format!("the annotations of the {split} split, {}", file.display()),
        &help,
    )
}

fn check_ids(coco: &Coco, faults: &mut Faults) {
    let images = repeated(coco.images.iter().map(|i| i.id));
    for (id, times) in &images {
        faults.push("repeated image ids", || {
            format!("image id {id} stands {times} times in `images`")
        });
    }
    for (id, times) in repeated(coco.annotations.iter().map(|a| a.id)) {
        faults.push("repeated annotation ids", || {
            format!("annotation id {id} stands {times} times in `annotations`")
        });
    }
    for image in coco.images.iter().filter(|i| i.id < 0) {
        faults.push("negative ids", || format!("image id {} is negative", image.id));
    }
    let known_images: HashSet<i64> = coco.images.iter().map(|i| i.id).collect();
    let known_categories: HashSet<i64> = coco.categories.iter().map(|c| c.id).collect();
    for Annotation {
        id,
        image_id,
        category_id,
        ..
    } in &coco.annotations
    {
        if !known_images.contains(image_id) {
            faults.push("annotations of unknown images", || {
                format!("annotation {id}: its image {image_id} is not in `images`")
            });
        }
        if !known_categories.contains(category_id) {
            faults.push("annotations of unknown categories", || {
                format!(
                    "annotation {id} of image {image_id}: its category {category_id} is not in `categories`"
                )
            });
        }
    }
}

fn check_categories(coco: &Coco, faults: &mut Faults) {
    const KIND: &str = "wrong categories";
    if coco.categories.is_empty() {
        faults.push(KIND, || "`categories` is empty".to_owned());
    }
    for (id, times) in repeated(coco.categories.iter().map(|c| c.id)) {
        faults.push(KIND, || {
            format!("category id {id} stands {times} times in `categories`")
        });
    }
    for (name, times) in repeated(coco.categories.iter().map(|c| c.name.as_str())) {
        faults.push(KIND, || {
            format!("{times} categories are named `{name}`; each needs a name of its own")
        });
    }
    for category in coco.categories.iter().filter(|c| c.id < 0) {
        faults.push(KIND, || {
            format!("category id {} (`{}`) is negative", category.id, category.name)
        });
    }
}

/// What occurs more than once, and how often, in order.
fn repeated<T: Ord>(values: impl Iterator<Item = T>) -> BTreeMap<T, usize> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    let mut repeated = BTreeMap::new();
    let mut values = values.into_iter().peekable();
    while let Some(value) = values.next() {
        let mut times = 1;
        while values.next_if(|next| *next == value).is_some() {
            times += 1;
        }
        if times > 1 {
            repeated.insert(value, times);
        }
    }
    repeated
}

/// Width and height by image id.
fn sizes(coco: &Coco) -> HashMap<i64, (u32, u32)> {
    coco.images.iter().map(|i| (i.id, (i.width, i.height))).collect()
}

fn faulty_boxes<'a>(
    coco: &'a Coco,
    sizes: &'a HashMap<i64, (u32, u32)>,
) -> impl Iterator<Item = (&'a Annotation, BoxFault)> {
    coco.annotations.iter().filter_map(|annotation| {
        let size = sizes.get(&annotation.image_id).copied().unwrap_or_default();
        Some((annotation, boxes::fault(annotation.bbox, size)?))
    })
}

/// What the policy did, counted by kind.
fn box_warnings(coco: &Coco, policy: BoxPolicy) -> Vec<Problem> {
    let sizes = sizes(coco);
    let mut tally = Tally::new();
    for (annotation, fault) in faulty_boxes(coco, &sizes) {
        tally.push(fault, || {
            format!("annotation {} of image {}", annotation.id, annotation.image_id)
        });
    }
    tally
        .warnings("box", |fault| match (fault, policy) {
            (BoxFault::PartlyOutside, BoxPolicy::Clip) => "clipped to the picture",
            _ => "left out of training",
        })
        .collect()
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
mod tests {
    use super::*;
    use crate::testing::{Folder, annotation, document};
    use serde_json::{Value, json};

    fn refusal(folder: &Folder, document: &Value) -> String {
        folder
            .open(document, json!({}))
            .err()
            .expect("the data set is refused")
            .to_string()
    }

    #[test]
    fn a_record_holds_boxes_labels_and_the_files_own_numbers() {
        let folder = Folder::with(&["a.jpg", "sub/b.jpg"]);
        let document = document(
            &[(17, "sub/b.jpg"), (3, "a.jpg")],
            vec![
                annotation(1, 3, 5, [1.5, 2.0, 10.0, 20.0]),
                annotation(2, 17, 9, [90.0, 0.0, 30.0, 10.25]),
            ],
        );
        let data = folder.open(&document, json!({})).unwrap();
        assert_eq!(data.len(), 2);
        assert_eq!(data.spec().names.as_slice(), ["five", "nine"]);
        let record = data.record(0).unwrap();
        assert_eq!(record.name, "image 17 (sub/b.jpg)");
        assert!(record.pictures[0].path.ends_with("sub/b.jpg"));
        let fields = &record.fields;
        assert_eq!(
            fields.require("boxes").unwrap().to_rows::<4>().unwrap(),
            [[90.0, 0.0, 100.0, 10.25]]
        );
        assert_eq!(
            fields.require("class_labels").unwrap().values::<i64>().unwrap(),
            [1]
        );
        assert_eq!(fields.require("image_id").unwrap().values::<i64>().unwrap(), [17]);
        assert_eq!(
            fields.require("ground_truth").unwrap().to_rows::<7>().unwrap(),
            [[1.0, 90.0, 0.0, 30.0, 10.25, 307.5, 0.0]]
        );
        let meta = data.meta(0).unwrap();
        assert_eq!(
            (meta.width, meta.height, meta.classes.as_slice()),
            (100, 100, &[1][..])
        );
        assert!(data.record(2).is_err());
    }

    #[test]
    fn a_picture_without_objects_stays() {
        let folder = Folder::with(&["a.jpg"]);
        let data = folder
            .open(&document(&[(1, "a.jpg")], vec![]), json!({}))
            .unwrap();
        assert_eq!(data.len(), 1);
        let record = data.record(0).unwrap();
        assert_eq!(record.fields.require("boxes").unwrap().dims(), [0, 4]);
        assert!(data.problems()[0].message.contains("no annotated boxes"));
    }

    #[test]
    fn all_faults_come_in_one_report_with_their_ids() {
        let folder = Folder::with(&["a.jpg"]);
        std::os::unix::fs::symlink("/etc/hostname", folder.path("out.jpg")).unwrap();
        std::os::unix::fs::symlink("a.jpg", folder.path("in.jpg")).unwrap();
        std::os::unix::fs::symlink("/etc", folder.path("etc")).unwrap();
        let report = refusal(
            &folder,
            &document(
                &[
                    (1, "a.jpg"),
                    (2, "../b.jpg"),
                    (3, "/etc/hostname"),
                    (4, "out.jpg"),
                    (5, "etc/hostname"),
                    (6, "gone.jpg"),
                    (7, "in.jpg"),
                    (7, "a.jpg"),
                    (8, "."),
                ],
                vec![
                    annotation(1, 1, 5, [1.0, 1.0, 2.0, 2.0]),
                    annotation(1, 99, 5, [1.0, 1.0, 2.0, 2.0]),
                    annotation(2, 1, 77, [1.0, 1.0, 2.0, 2.0]),
                ],
            ),
        );
        for part in [
            "image 2: file_name \"../b.jpg\" has `..` in it; refused",
            "image 3: file_name \"/etc/hostname\" is an absolute path",
            "image 4: file_name \"out.jpg\" is a link that leaves the folder",
            "image 5: file_name \"etc/hostname\" goes through a link",
            "gone.jpg does not exist",
            "image id 7 stands 2 times",
            "image 8: file_name \".\" is no file name",
            "annotation id 1 stands 2 times",
            "annotation 1: its image 99",
            "annotation 2 of image 1: its category 77",
            "data.val_data_path",
        ] {
            assert!(report.contains(part), "no {part:?} in:\n{report}");
        }
        assert!(report.starts_with("10 problems"), "{report}");
        assert!(!report.contains("in.jpg"), "{report}");
    }

    #[test]
    fn wrong_boxes_follow_the_policy() {
        let folder = Folder::with(&["a.jpg"]);
        let mut annotations = vec![
            annotation(1, 1, 5, [10.0, 10.0, 5.0, 5.0]),
            annotation(2, 1, 5, [10.0, 10.0, 0.0, 5.0]),
            annotation(3, 1, 5, [95.0, 10.0, 10.0, 5.0]),
            annotation(4, 1, 5, [10.0, 10.0, -1.0, 5.0]),
            annotation(5, 1, 5, [10.0, 10.0, 5.0, 5.0]),
        ];
        annotations[4]["bbox"][0] = Value::Null;
        let document = document(&[(1, "a.jpg")], annotations);
        let boxes = |data: &CocoDataSet| data.record(0).unwrap().fields.require("boxes").unwrap().dims()[0];
        let told = |data: &CocoDataSet| {
            data.problems()
                .iter()
                .map(|p| p.message.to_string())
                .collect::<Vec<_>>()
                .join("\n")
        };

        let clip = folder.open(&document, json!({})).unwrap();
        assert_eq!(boxes(&clip), 2);
        let warnings = told(&clip);
        assert!(
            warnings.contains("1 box (no area): left out of training: annotation 2 of image 1"),
            "{warnings}"
        );
        assert!(
            warnings.contains("clipped to the picture: annotation 3 of image 1"),
            "{warnings}"
        );
        assert_eq!(clip.problems().len(), 4);
        // The evaluation keeps the boxes that have numbers.
        assert_eq!(
            clip.record(0)
                .unwrap()
                .fields
                .require("ground_truth")
                .unwrap()
                .dims(),
            [4, 7]
        );

        let drop = folder
            .open(&document, json!({"data": {"box_policy": "drop"}}))
            .unwrap();
        assert_eq!(boxes(&drop), 1);

        let error = folder
            .open(&document, json!({"data": {"box_policy": "error"}}))
            .err()
            .unwrap()
            .to_string();
        assert!(error.starts_with("4 problems"), "{error}");
        assert!(
            error.contains("annotation 5 of image 1") && error.contains("not a number"),
            "{error}"
        );
        assert!(
            error.contains("negative width or height") && error.contains("reaches out"),
            "{error}"
        );
    }

    #[test]
    fn an_empty_split_is_refused() {
        let folder = Folder::with(&["a.jpg"]);
        assert!(refusal(&folder, &document(&[], vec![])).contains("the val split has no pictures"));
    }

    #[test]
    fn missing_files_say_where_was_looked_and_which_key_to_set() {
        let folder = Folder::with(&["a.jpg"]);
        let mut args = folder.args(json!({}));
        args.annotations = String::new();
        let error = CocoDataSet::open(&args).err().unwrap();
        assert_eq!(error.key, "data.val_annotation_file");
        assert!(error.to_string().contains("_annotations.coco.json"), "{error}");
        std::fs::write(
            folder.path("annotations.json"),
            document(&[(1, "a.jpg")], vec![]).to_string(),
        )
        .unwrap();
        assert!(CocoDataSet::open(&args).is_ok());

        args.annotations = "/nowhere/a.json".to_owned();
        assert!(
            CocoDataSet::open(&args)
                .err()
                .unwrap()
                .to_string()
                .contains("/nowhere/a.json")
        );

        let mut args = folder.args(json!({}));
        std::fs::write(&args.annotations, document(&[(1, "a.jpg")], vec![]).to_string()).unwrap();
        args.pictures = "/nowhere".to_owned();
        assert_eq!(CocoDataSet::open(&args).err().unwrap().key, "data.val_data_path");
        args.pictures = String::new();
        assert_eq!(CocoDataSet::open(&args).err().unwrap().key, "data.val_data_path");
    }

    #[test]
    fn categories_need_ids_and_names_of_their_own() {
        let folder = Folder::with(&["a.jpg"]);
        let mut document = document(&[(1, "a.jpg")], vec![]);
        document["categories"] =
            json!([{"id": 1, "name": "x"}, {"id": 1, "name": "y"}, {"id": -2, "name": "x"}]);
        let report = refusal(&folder, &document);
        assert!(report.contains("category id 1 stands 2 times"), "{report}");
        assert!(report.contains("2 categories are named `x`"), "{report}");
        assert!(report.contains("category id -2 (`x`) is negative"), "{report}");
        document["categories"] = json!([]);
        assert!(refusal(&folder, &document).contains("`categories` is empty"));
    }
}

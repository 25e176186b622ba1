//! What is looked for in a split's annotations before anything is done with them.

use crate::boxes::{self, BoxFault, BoxPolicy};
use crate::coco::{Annotation, Coco};
use crate::pictures;
use cvhost_data_sets::{Faults, Tally};
use cvhost_plugin_api::Result;
use cvhost_plugin_api::data::Problem;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// Everything that refuses a split, in one report.
pub fn check(coco: &Coco, root: &Path, file: &Path, split: &str, policy: BoxPolicy) -> Result<()> {
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
pub fn box_warnings(coco: &Coco, policy: BoxPolicy) -> Vec<Problem> {
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

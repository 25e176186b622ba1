//! Checks of a split's annotations before they are used.

use crate::boxes::{self, BoxFault, BoxPolicy, Frame};
use crate::images;
use cvhost_annotations::{Annotation, BoxSet, Format, Found, Naming, position};
use cvhost_datasets::{Faults, Tally};
use cvhost_plugin_api::Result;
use cvhost_plugin_api::data::Problem;

/// Maximum number of invalid shapes that are listed.
const MAX_SHAPES: usize = 20;

/// Reports everything that makes a split unusable as one error.
pub fn check(found: &mut Found, split: &str, policy: BoxPolicy) -> Result<()> {
    let mut faults = std::mem::take(&mut found.faults);
    let set = &found.set;
    let positions = set.images.positions();
    check_ids(set, &positions, &mut faults);
    check_categories(set, &mut faults);
    images::check(&found.root, split, set, &mut faults)?;
    let mut help = match found.format {
        Format::Coco => "fix the annotation file".to_owned(),
        _ => "fix the annotations".to_owned(),
    };
    help += &format!("; its file names are relative to the folder in `data.{split}_data_path`");
    if policy == BoxPolicy::Error {
        for (annotation, fault) in faulty_boxes(set, &positions) {
            faults.push("invalid boxes", || {
                let name = set.name_of(annotation, &positions);
                format!("{name}: box {:?}: {fault}", annotation.bbox)
            });
        }
        help += "; `data.box_policy: clip` or `drop` continues without the invalid boxes";
    }
    faults.into_result(
        &format!("the annotations of the {split} split, {}", found.source.display()),
        &help,
    )
}

fn check_ids(set: &BoxSet, positions: &[(i64, u32)], faults: &mut Faults) {
    repeated(set.images.ids().to_vec(), |id, times| {
        faults.push("repeated image ids", || {
            format!("image id {id} occurs {times} times in `images`")
        });
    });
    match set.naming {
        Naming::Annotations => {
            let ids: Vec<i64> = set.annotations.iter().map(|a| a.id).collect();
            repeated(ids, |id, times| {
                faults.push("repeated annotation ids", || {
                    format!("annotation id {id} occurs {times} times in `annotations`")
                });
            });
        }
        Naming::Segments => {
            let ids: Vec<(i64, i64)> = set.annotations.iter().map(|a| (a.image_id, a.id)).collect();
            repeated(ids, |(image, id), times| {
                faults.push("repeated segment ids", || {
                    format!("segment id {id} occurs {times} times in image {image}")
                });
            });
        }
        _ => {}
    }
    for id in set.images.ids().iter().filter(|id| **id < 0) {
        faults.push("negative ids", || format!("image id {id} is negative"));
    }
    let mut known: Vec<i64> = set.categories.iter().map(|c| c.id).collect();
    known.sort_unstable();
    for annotation in &set.annotations {
        let Annotation {
            id,
            image_id,
            category_id,
            ..
        } = annotation;
        if position(positions, *image_id).is_none() {
            faults.push("annotations of unknown images", || {
                format!("annotation {id}: its image {image_id} is not in `images`")
            });
        }
        if known.binary_search(category_id).is_err() {
            faults.push("annotations of unknown categories", || {
                let name = set.name_of(annotation, positions);
                match set.naming {
                    Naming::Annotations | Naming::Segments => {
                        format!("{name}: its category {category_id} is not in `categories`")
                    }
                    _ => format!(
                        "{name}: class {category_id} has no name; the number of names is {}",
                        known.len()
                    ),
                }
            });
        }
    }
}

fn check_categories(set: &BoxSet, faults: &mut Faults) {
    const KIND: &str = "invalid categories";
    if set.categories.is_empty() {
        faults.push(KIND, || match set.naming {
            Naming::Annotations | Naming::Segments => "`categories` is empty".to_owned(),
            _ => "there are no objects, so there are no classes".to_owned(),
        });
    }
    repeated(set.categories.iter().map(|c| c.id).collect(), |id, times| {
        faults.push(KIND, || {
            format!("category id {id} occurs {times} times in `categories`")
        });
    });
    repeated(
        set.categories.iter().map(|c| c.name.as_str()).collect(),
        |name, times| {
            faults.push(KIND, || {
                format!("{times} categories are named `{name}`; each needs a unique name")
            });
        },
    );
    for category in set.categories.iter().filter(|c| c.id < 0) {
        faults.push(KIND, || {
            format!("category id {} (`{}`) is negative", category.id, category.name)
        });
    }
}

/// Calls `report` for each value that occurs more than once, with its count, in sorted order.
fn repeated<T: Ord + Copy>(mut values: Vec<T>, mut report: impl FnMut(T, usize)) {
    values.sort_unstable();
    for same in values.chunk_by(|a, b| a == b) {
        if let [first, _, ..] = same {
            report(*first, same.len());
        }
    }
}

/// The bounds that this image's boxes are checked against.
pub fn frame(set: &BoxSet, image: Option<usize>) -> Frame {
    if set.relative {
        return Frame::relative();
    }
    Frame::pixels(image.map_or((0, 0), |index| set.images.size(index)))
}

fn faulty_boxes<'a>(
    set: &'a BoxSet,
    positions: &'a [(i64, u32)],
) -> impl Iterator<Item = (&'a Annotation, BoxFault)> {
    set.annotations.iter().filter_map(|annotation| {
        let frame = frame(set, position(positions, annotation.image_id));
        Some((annotation, boxes::fault(annotation.bbox, frame)?))
    })
}

/// The effects of the policy, counted by kind.
pub fn box_warnings(set: &BoxSet, policy: BoxPolicy) -> Vec<Problem> {
    let positions = set.images.positions();
    let mut tally = Tally::new();
    for (annotation, fault) in faulty_boxes(set, &positions) {
        tally.push(fault, || set.name_of(annotation, &positions));
    }
    tally
        .warnings("box", |fault| match (fault, policy) {
            (BoxFault::PartlyOutside, BoxPolicy::Clip) => "clipped to the image",
            _ => "excluded from training",
        })
        .collect()
}

/// A warning about annotations with an invalid shape: detection uses only their boxes.
pub fn shape_warnings(found: &Found) -> Option<Problem> {
    let count = found.shape_faults.len();
    let lines: Vec<String> = found
        .shape_faults
        .iter()
        .take(MAX_SHAPES)
        .filter_map(|(index, fault)| {
            let annotation = found.set.annotations.get(*index as usize)?;
            Some(format!("{}: {fault}", found.set.name_of(annotation, &[])))
        })
        .collect();
    let more = if lines.len() < count {
        format!("; and {} more", count - lines.len())
    } else {
        String::new()
    };
    (count > 0).then(|| {
        let plural = if count == 1 { "" } else { "s" };
        Problem::warning(format!(
            "{count} annotation{plural} with an invalid `segmentation`, of which only the box is \
             used: {}{more}",
            lines.join("; ")
        ))
    })
}

//! Converts annotations in another format to a COCO document without their errors.

use crate::boxes::{self, BoxFault, BoxPolicy};
use crate::checks::frame;
use cvhost_annotations::Found;
use cvhost_datasets::{ImageFolder, upright_size};
use cvhost_plugin_api::Result;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// Returns the document, and a line for each change.
pub fn repair(mut found: Found, split: &str, policy: BoxPolicy) -> Result<(Value, Vec<String>)> {
    let faults = std::mem::take(&mut found.faults).into_result("", "");
    // Unreadable rows aren't in the set.
    let lines = faults.err().map(|error| error.details).unwrap_or_default();
    let mut changes: Vec<String> = lines.iter().map(|line| format!("skipped: {line}")).collect();
    let set = &found.set;
    let mut folder = ImageFolder::open(&found.root, split)?;
    let known: HashSet<i64> = set.categories.iter().map(|c| c.id).collect();
    let groups = set.by_image();
    let positions = set.images.positions();
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    let mut seen = HashMap::new();
    for (index, name) in set.images.names().enumerate() {
        if let Err(trouble) = folder.check(name) {
            changes.push(format!("{name}: skipped: it {trouble}"));
            continue;
        }
        if let Some(first) = seen.insert(name, index) {
            let first = set.images.id(first).unwrap_or_default();
            changes.push(format!(
                "{name}: skipped: its boxes are already assigned to image {first}"
            ));
            continue;
        }
        let stored = set.images.size(index);
        let (width, height) = if stored.0 == 0 || stored.1 == 0 {
            match upright_size(&found.root.join(name)) {
                Ok(size) => size,
                Err(error) => {
                    changes.push(format!("{name}: skipped: {}", error.message));
                    continue;
                }
            }
        } else {
            stored
        };
        let [to_x, to_y] = if set.relative {
            [f64::from(width), f64::from(height)]
        } else {
            [1.0, 1.0]
        };
        let id = set.images.id(index);
        images.push(json!({"id": id, "file_name": name, "width": width, "height": height}));
        let frame = frame(set, Some(index));
        for annotation in groups.of(index).filter_map(|i| set.annotations.get(i)) {
            let called = || set.name_of(annotation, &positions);
            if !known.contains(&annotation.category_id) {
                changes.push(format!(
                    "{}: skipped: class {} has no name",
                    called(),
                    annotation.category_id
                ));
                continue;
            }
            let [x, y, w, h] = annotation.bbox;
            let fault = boxes::fault(annotation.bbox, frame);
            let [x, y, w, h] = match (fault, boxes::target(annotation.bbox, frame, policy)) {
                (None, _) => [x, y, w, h],
                (Some(BoxFault::PartlyOutside), Some([x1, y1, x2, y2])) => {
                    changes.push(format!("{}: clipped to the image", called()));
                    [x1, y1, x2 - x1, y2 - y1]
                }
                (Some(fault), _) => {
                    changes.push(format!("{}: skipped: {fault}", called()));
                    continue;
                }
            };
            let bbox = [x * to_x, y * to_y, w * to_x, h * to_y];
            annotations.push(json!({
                "id": annotations.len() + 1,
                "image_id": id,
                "category_id": annotation.category_id,
                "bbox": bbox,
                "area": bbox[2] * bbox[3],
                "iscrowd": u8::from(annotation.crowd),
            }));
        }
    }
    let categories: Vec<Value> = set
        .categories
        .iter()
        .map(|c| json!({"id": c.id, "name": c.name}))
        .collect();
    let document = json!({"images": images, "annotations": annotations, "categories": categories});
    Ok((document, changes))
}

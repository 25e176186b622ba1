//! Repairs a COCO document as a whole, so that keys unknown to this task are preserved.

use crate::boxes::{self, BoxFault, BoxPolicy, Frame};
use cvhost_annotations::{coco, plain_json};
use cvhost_datasets::ImageFolder;
use cvhost_plugin_api::{PluginError, Result};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Returns the repaired document, and a line for each change.
pub fn repair(file: &Path, root: &Path, split: &str, policy: BoxPolicy) -> Result<(Value, Vec<String>)> {
    let failed = |e: &dyn std::fmt::Display| {
        PluginError::data(format!("{}: {e}", file.display())).with_help(coco::EXPECTED)
    };
    let reader = File::open(file).and_then(plain_json).map_err(|e| failed(&e))?;
    let reader = BufReader::new(reader);
    let mut document: Value = serde_json::from_reader(reader).map_err(|e| failed(&e))?;
    let mut lists = HashMap::new();
    for name in ["images", "annotations", "categories"] {
        match document.get_mut(name).map(Value::take) {
            Some(Value::Array(list)) => lists.insert(name, list),
            _ => return Err(failed(&format!("the list `{name}` is missing"))),
        };
    }
    let mut list = |name| lists.remove(name).unwrap_or_default();
    let (images, annotations, categories) = (list("images"), list("annotations"), list("categories"));
    if annotations.iter().any(|a| a.get("segments_info").is_some()) {
        let what = format!("{}: panoptic annotations can't be repaired", file.display());
        return Err(
            PluginError::unsupported(what).with_help("their segments are also stored in the PNG files")
        );
    }
    let mut work = Work {
        policy,
        changes: Vec::new(),
        images: HashMap::new(),
        categories: HashMap::new(),
    };
    let categories = work.categories(categories)?;
    let images = work.images(images, ImageFolder::open(root, split)?);
    let annotations = work.annotations(annotations);
    let mut put = |name: &str, list: Vec<Value>| {
        if let Some(slot) = document.get_mut(name) {
            *slot = Value::Array(list);
        }
    };
    put("images", images);
    put("annotations", annotations);
    put("categories", categories);
    Ok((document, work.changes))
}

struct Work {
    policy: BoxPolicy,
    changes: Vec<String>,
    /// Retained ids, with the new id and the size.
    images: HashMap<i64, (i64, (u32, u32))>,
    /// Retained ids, with the new id.
    categories: HashMap<i64, i64>,
}

/// An integer value; some tools write `17.0`.
fn whole(entry: &Value, key: &str) -> Option<i64> {
    let value = entry.get(key)?;
    let float = || {
        value
            .as_f64()
            .filter(|v| v.fract() == 0.0 && v.abs() < 9e15)
            .map(|v| v as i64)
    };
    value.as_i64().or_else(float)
}

/// The smallest positive id above all of these.
fn next_id(ids: impl Iterator<Item = i64>) -> i64 {
    ids.max().unwrap_or(0).max(0).saturating_add(1)
}

fn set(entry: &mut Value, key: &str, value: Value) {
    if let Some(slot) = entry.get_mut(key) {
        *slot = value;
    }
}

impl Work {
    /// Of several categories with the same name, the first is kept and takes over the annotations
    /// of the others.
    fn categories(&mut self, list: Vec<Value>) -> Result<Vec<Value>> {
        let mut next = next_id(list.iter().filter_map(|c| whole(c, "id")));
        let mut by_name: HashMap<String, i64> = HashMap::new();
        let mut names: HashMap<i64, String> = HashMap::new();
        let mut kept = Vec::new();
        for (index, mut entry) in list.into_iter().enumerate() {
            let name = entry.get("name").and_then(Value::as_str).map(str::to_owned);
            let (Some(id), Some(name)) = (whole(&entry, "id"), name) else {
                self.changes.push(format!(
                    "categories[{index}]: dropped: it has no `id` or no `name`"
                ));
                continue;
            };
            if let Some(other) = names.get(&id).filter(|other| **other != name) {
                let what = format!("category id {id} is used for both `{other}` and `{name}`");
                return Err(PluginError::data(what).with_help(
                    "their annotations can't be distinguished: give one of them another id, in \
                     its annotations as well",
                ));
            }
            if names.insert(id, name.clone()).is_some() {
                self.changes
                    .push(format!("category {id} `{name}`: dropped: it is a duplicate"));
                continue;
            }
            if let Some(&first) = by_name.get(&name) {
                self.changes.push(format!(
                    "category {id} `{name}`: merged into category {first}, which has the same name"
                ));
                self.categories.insert(id, first);
                continue;
            }
            let mut new = id;
            if id < 0 {
                (new, next) = (next, next + 1);
                self.changes
                    .push(format!("category {id} `{name}`: its id is now {new}"));
                set(&mut entry, "id", json!(new));
            }
            by_name.insert(name, new);
            self.categories.insert(id, new);
            kept.push(entry);
        }
        if kept.is_empty() {
            let help = "list the classes in `categories`, each with `id` and `name`";
            return Err(PluginError::data("`categories` is empty, which can't be repaired").with_help(help));
        }
        Ok(kept)
    }

    /// An id that is used for several files is dropped with all of them: the boxes can't be
    /// assigned to a file.
    fn images(&mut self, list: Vec<Value>, mut folder: ImageFolder) -> Vec<Value> {
        let mut files: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for entry in &list {
            if let (Some(id), Some(file)) =
                (whole(entry, "id"), entry.get("file_name").and_then(Value::as_str))
            {
                let known = files.entry(id).or_default();
                if !known.iter().any(|name| name == file) {
                    known.push(file.to_owned());
                }
            }
        }
        files.retain(|_, names| names.len() > 1);
        for (id, names) in &files {
            let names = names.join(", ");
            self.changes.push(format!(
                "image {id}: dropped with its annotations: its id is used for several files: {names}"
            ));
        }
        let mut next = next_id(list.iter().filter_map(|i| whole(i, "id")));
        let mut kept = Vec::new();
        for (index, mut entry) in list.into_iter().enumerate() {
            let file = entry.get("file_name").and_then(Value::as_str).map(str::to_owned);
            let (Some(id), Some(file)) = (whole(&entry, "id"), file) else {
                self.changes.push(format!(
                    "images[{index}]: dropped: it has no `id` or no `file_name`"
                ));
                continue;
            };
            if files.contains_key(&id) {
                continue;
            }
            if self.images.contains_key(&id) {
                self.changes
                    .push(format!("image {id} ({file}): dropped: it is a duplicate"));
                continue;
            }
            if let Err(trouble) = folder.check(&file) {
                self.changes.push(format!(
                    "image {id} ({file}): dropped with its annotations: it {trouble}"
                ));
                continue;
            }
            let mut new = id;
            if id < 0 {
                (new, next) = (next, next + 1);
                self.changes
                    .push(format!("image {id} ({file}): its id is now {new}"));
                set(&mut entry, "id", json!(new));
            }
            let side = |key| {
                whole(&entry, key)
                    .and_then(|v| u32::try_from(v).ok())
                    .unwrap_or(0)
            };
            self.images.insert(id, (new, (side("width"), side("height"))));
            kept.push(entry);
        }
        kept
    }

    fn annotations(&mut self, list: Vec<Value>) -> Vec<Value> {
        let mut next = next_id(list.iter().filter_map(|a| whole(a, "id")));
        let mut ids = HashSet::new();
        let mut kept: Vec<Value> = Vec::new();
        let mut first: HashMap<i64, usize> = HashMap::new();
        for (index, mut entry) in list.into_iter().enumerate() {
            let id = whole(&entry, "id");
            let name = id.map_or(format!("annotations[{index}]"), |id| format!("annotation {id}"));
            // Compared as in the original file.
            if let Some(same) = id.and_then(|id| first.get(&id)).and_then(|i| kept.get(*i))
                && same == &entry
            {
                self.changes.push(format!("{name}: dropped: it is a duplicate"));
                continue;
            }
            match self.annotation(&mut entry, &name) {
                Err(why) => {
                    self.changes.push(format!("{name}: dropped: {why}"));
                    continue;
                }
                Ok(changes) => self.changes.extend(changes),
            }
            match id.filter(|id| ids.insert(*id)) {
                Some(id) => {
                    first.insert(id, kept.len());
                }
                None => {
                    let why = if id.is_some() {
                        "another annotation has the same id"
                    } else {
                        "it has none"
                    };
                    self.changes.push(format!("{name}: its id is now {next}: {why}"));
                    if let Some(object) = entry.as_object_mut() {
                        object.insert("id".to_owned(), json!(next));
                    }
                    next += 1;
                }
            }
            kept.push(entry);
        }
        kept
    }

    /// Repairs one annotation and returns the changes; `Err` is the reason for dropping it.
    fn annotation(&self, entry: &mut Value, name: &str) -> Result<Vec<String>, String> {
        let mut changes = Vec::new();
        let image = whole(entry, "image_id").ok_or("it has no `image_id`")?;
        let category = whole(entry, "category_id").ok_or("it has no `category_id`")?;
        let (new_image, size) = *self
            .images
            .get(&image)
            .ok_or_else(|| format!("its image {image} is not in `images`, or was dropped"))?;
        let new_category = *self
            .categories
            .get(&category)
            .ok_or_else(|| format!("its category {category} is not in `categories`"))?;
        if new_image != image {
            set(entry, "image_id", json!(new_image));
        }
        if new_category != category {
            set(entry, "category_id", json!(new_category));
        }
        let numbers = entry
            .get("bbox")
            .and_then(Value::as_array)
            .ok_or("it has no `bbox`")?;
        let numbers: Vec<f64> = numbers.iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect();
        let bbox: [f64; 4] = numbers
            .try_into()
            .map_err(|_| "its `bbox` isn't [x, y, width, height]")?;
        let frame = Frame::pixels(size);
        if let Some(fault) = boxes::fault(bbox, frame) {
            let clipped = boxes::target(bbox, frame, self.policy);
            let Some([x1, y1, x2, y2]) = clipped.filter(|_| fault == BoxFault::PartlyOutside) else {
                return Err(format!("its box {bbox:?}: {fault}"));
            };
            let new = [x1, y1, x2 - x1, y2 - y1];
            changes.push(format!("{name}: its box {bbox:?} is now {new:?}: {fault}"));
            set(entry, "bbox", json!(new));
            let area = new[2] * new[3];
            if entry
                .get("area")
                .and_then(Value::as_f64)
                .is_some_and(|old| old > area)
            {
                set(entry, "area", json!(area));
            }
        }
        if let Some(segmentation) = entry.get_mut("segmentation").filter(|s| !s.is_null())
            && let Some(fault) = coco::shape_fault(segmentation)
        {
            let rings = segmentation.as_array().map_or(0, Vec::len);
            // Valid polygons are kept.
            if let Some(list) = segmentation.as_array_mut() {
                list.retain(|ring| coco::shape_fault(&json!([ring])).is_none());
            } else {
                *segmentation = json!([]);
            }
            let left = segmentation.as_array().map_or(0, Vec::len);
            let what = if left > 0 {
                format!("{} of {rings} polygons dropped", rings - left)
            } else {
                "its `segmentation` is now empty".to_owned()
            };
            changes.push(format!("{name}: {what}: {fault}"));
        }
        Ok(changes)
    }
}

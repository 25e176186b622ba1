//! Reads COCO annotation files entry by entry: `instances`, `keypoints` and `panoptic`. A million
//! boxes take about 80 MB, regardless of the polygons in the file; shapes and keypoints are stored
//! on request.

mod entries;
mod kept;
mod numbers;
mod segmentation;

pub use kept::{Keypoints, ShapeRef, Shapes};
pub use segmentation::{Segmentation, ShapeFault};

use crate::boxes::{Annotation, BoxSet, Category, Naming};
use crate::nan::plain_json;
use cvhost_plugin_api::{PluginError, Result};
use entries::{RawAnnotation, RawCategory, RawImage};
use segmentation::{Checked, Kept, Shape, Skipped};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::marker::PhantomData;
use std::path::Path;

/// How `segmentation` is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShapesWanted {
    /// Skipped.
    No,
    /// Validated and discarded.
    #[default]
    Checked,
    Kept,
}

/// What to read from a file besides the boxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    pub shapes: ShapesWanted,
    pub keypoints: bool,
}

/// A COCO file.
#[derive(Debug, Default)]
pub struct Document {
    /// For a panoptic file: its segments, in file order.
    pub set: BoxSet,
    /// In the order of the annotations; `None` unless requested.
    pub shapes: Option<Shapes>,
    pub keypoints: Option<Keypoints>,
    /// Indices of annotations with an invalid shape, and the reason.
    pub shape_faults: Vec<(u32, ShapeFault)>,
    /// For a panoptic file: image ids with the names of their PNG files (empty if the file doesn't
    /// give one), whose pixels encode segment ids as R + 256 G + 65536 B.
    pub panoptic: Option<Vec<(i64, Box<str>)>>,
}

/// Description of a COCO file, for error messages.
pub const EXPECTED: &str = "an annotation file is a COCO JSON object with the lists `images` (id, \
     file_name, width, height), `annotations` (id, image_id, category_id, bbox as [x, y, width, \
     height]) and `categories` (id, name)";

/// Reads the file at `path`. The error names the entry and its line.
pub fn open(path: &Path, wanted: Wanted) -> Result<Document> {
    let file = File::open(path)
        .map_err(|e| PluginError::data(format!("cannot open the annotation file {}: {e}", path.display())))?;
    read(file, wanted).map_err(|e| PluginError::data(format!("{}: {e}", path.display())).with_help(EXPECTED))
}

/// Reads a document. The error gives the reason and the line; it may be an error of `reader`.
pub fn read(reader: impl Read, wanted: Wanted) -> Result<Document, serde_json::Error> {
    let reader = plain_json(reader).map_err(serde_json::Error::io)?;
    let reader = BufReader::with_capacity(64 * 1024, reader);
    match (wanted.shapes, wanted.keypoints) {
        (ShapesWanted::No, false) => document::<_, Skipped, Skipped>(reader, wanted),
        (ShapesWanted::No, true) => document::<_, Skipped, Points>(reader, wanted),
        (ShapesWanted::Checked, false) => document::<_, Checked, Skipped>(reader, wanted),
        (ShapesWanted::Checked, true) => document::<_, Checked, Points>(reader, wanted),
        (ShapesWanted::Kept, false) => document::<_, Kept, Skipped>(reader, wanted),
        (ShapesWanted::Kept, true) => document::<_, Kept, Points>(reader, wanted),
    }
}

fn document<R: Read, S: Shape, K: PointList>(
    reader: R,
    wanted: Wanted,
) -> Result<Document, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let mut document = Document::default();
    if wanted.shapes == ShapesWanted::Kept {
        document.shapes = Some(Shapes::default());
    }
    if wanted.keypoints {
        document.keypoints = Some(Keypoints::default());
    }
    deserializer.deserialize_any(DocumentVisitor::<S, K> {
        document: &mut document,
        types: PhantomData,
    })?;
    deserializer.end()?;
    if document.panoptic.is_some() {
        document.set.naming = Naming::Segments;
    }
    document.set.images.shrink();
    document.set.annotations.shrink_to_fit();
    Ok(document)
}

/// Checks a `segmentation` without its image.
pub fn shape_fault(segmentation: &serde_json::Value) -> Option<ShapeFault> {
    match Kept::deserialize(segmentation) {
        Ok(kept) => match kept.take() {
            Ok(shape) => shape?.fault((0, 0)),
            Err(fault) => Some(fault),
        },
        Err(_) => Some(ShapeFault::OtherType),
    }
}

/// The part of `keypoints` that is read.
trait PointList: for<'de> Deserialize<'de> {
    fn into_numbers(self) -> Vec<f64>;
}

impl PointList for Skipped {
    fn into_numbers(self) -> Vec<f64> {
        Vec::new()
    }
}

/// Null, which replaces NaN in the input, is converted back to NaN.
#[derive(Deserialize)]
struct Points(Vec<Option<f64>>);

impl PointList for Points {
    fn into_numbers(self) -> Vec<f64> {
        self.0.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect()
    }
}

struct DocumentVisitor<'a, S, K> {
    document: &'a mut Document,
    types: PhantomData<(S, K)>,
}

impl<'de, S: Shape, K: PointList> Visitor<'de> for DocumentVisitor<'_, S, K> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a COCO JSON object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom(
            "invalid type: sequence, expected a COCO JSON object; a bare list is the format of \
             detector results",
        ))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        const LISTS: [&str; 3] = ["images", "annotations", "categories"];
        let document = self.document;
        let mut seen = [false; 3];
        while let Some(key) = map.next_key::<String>()? {
            let Some(list) = LISTS.iter().position(|name| *name == key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if let Some(seen) = seen.get_mut(list)
                && std::mem::replace(seen, true)
            {
                return Err(A::Error::custom(format!(
                    "the list `{key}` occurs twice in the file"
                )));
            }
            match list {
                0 => map.next_value_seed(List::new("images", |image: RawImage| {
                    document
                        .set
                        .images
                        .push(image.id.0, &image.file_name, image.size());
                    Ok(())
                }))?,
                1 => map.next_value_seed(List::new("annotations", |raw: RawAnnotation<S, K>| {
                    document.take(raw)
                }))?,
                _ => map.next_value_seed(List::new("categories", |category: RawCategory| {
                    document.set.categories.push(Category::from(category));
                    Ok(())
                }))?,
            }
        }
        match LISTS.iter().zip(seen).find(|(_, seen)| !seen) {
            Some((name, _)) => Err(A::Error::custom(format!("the list `{name}` is missing"))),
            None => Ok(()),
        }
    }
}

impl Document {
    /// Adds an annotation, or the segments of a panoptic image.
    fn take<S: Shape, K: PointList>(&mut self, raw: RawAnnotation<S, K>) -> Result<(), String> {
        let objects = &mut self.set.annotations;
        let Some(segments) = &raw.segments_info else {
            if self.panoptic.is_some() {
                return Err("no `segments_info`, although earlier entries have it".to_owned());
            }
            let object = raw.object()?;
            self.add(object, raw);
            return Ok(());
        };
        if self.panoptic.is_none() && !objects.is_empty() {
            return Err("`segments_info`, although earlier entries are objects with boxes".to_owned());
        }
        let image_id = raw.image_id();
        objects.extend(segments.iter().map(|segment| segment.object(image_id)));
        let file_name = raw.file_name.unwrap_or_default();
        self.panoptic.get_or_insert_default().push((image_id, file_name));
        Ok(())
    }

    fn add<S: Shape, K: PointList>(&mut self, object: Annotation, raw: RawAnnotation<S, K>) {
        let index = self.set.annotations.len() as u32;
        self.set.annotations.push(object);
        let shape = match raw.segmentation.map(S::take).transpose() {
            Ok(shape) => shape.flatten(),
            Err(fault) => {
                self.shape_faults.push((index, fault));
                None
            }
        };
        if let Some(fault) = shape.as_ref().and_then(|shape| shape.fault((0, 0))) {
            self.shape_faults.push((index, fault));
        }
        if let Some(shapes) = &mut self.shapes {
            shapes.push(shape);
        }
        if let Some(keypoints) = &mut self.keypoints {
            let numbers = raw.keypoints.map(K::into_numbers).unwrap_or_default();
            keypoints.push(&numbers);
        }
    }

    /// Keeps the things of a panoptic file, which have boxes, and drops stuff; if no category has
    /// `isthing`, all count as things. Returns the number of dropped segments and categories.
    pub fn leave_things(&mut self) -> (usize, usize) {
        let stuff = |category: &Category| category.is_thing == Some(false);
        let mut ids: Vec<i64> = self
            .set
            .categories
            .iter()
            .filter(|c| stuff(c))
            .map(|c| c.id)
            .collect();
        ids.sort_unstable();
        let before = self.set.annotations.len();
        self.set
            .annotations
            .retain(|a| ids.binary_search(&a.category_id).is_err());
        self.set.categories.retain(|c| !stuff(c));
        (before - self.set.annotations.len(), ids.len())
    }
}

/// A list whose entries are passed on one by one; errors name the entry.
struct List<Raw, F> {
    name: &'static str,
    take: F,
    raw: PhantomData<Raw>,
}

impl<Raw, F: FnMut(Raw) -> Result<(), String>> List<Raw, F> {
    fn new(name: &'static str, take: F) -> Self {
        List {
            name,
            take,
            raw: PhantomData,
        }
    }
}

impl<'de, Raw: Deserialize<'de>, F: FnMut(Raw) -> Result<(), String>> DeserializeSeed<'de> for List<Raw, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, Raw: Deserialize<'de>, F: FnMut(Raw) -> Result<(), String>> Visitor<'de> for List<Raw, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the list `{}`", self.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut sequence: A) -> Result<(), A::Error> {
        let mut count = 0;
        let name = self.name;
        loop {
            match sequence.next_element::<Raw>() {
                Ok(Some(raw)) => (self.take)(raw),
                Ok(None) => return Ok(()),
                Err(e) => return Err(A::Error::custom(format!("{name}[{count}]: {e}"))),
            }
            .map_err(|e| A::Error::custom(format!("{name}[{count}]: {e}")))?;
            count += 1;
        }
    }
}

#[cfg(test)]
mod tests;

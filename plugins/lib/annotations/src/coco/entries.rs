//! Entries of a COCO file's lists, as deserialized by serde.

use super::numbers::{Flag, Integer, RawBox};
use crate::boxes::{Annotation, Category};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub struct RawImage {
    pub id: Integer,
    pub file_name: Box<str>,
    width: Option<Integer>,
    height: Option<Integer>,
}

impl RawImage {
    /// Width and height in pixels; 0 if the file doesn't give them.
    pub fn size(&self) -> (u32, u32) {
        let side = |v: Option<Integer>| v.and_then(|v| u32::try_from(v.0).ok()).unwrap_or(0);
        (side(self.width), side(self.height))
    }
}

/// An object of an `instances` or `keypoints` file, or an image of a `panoptic` file. `S` and `K`
/// determine how much of the shape and of the keypoints is read.
#[derive(Deserialize)]
#[serde(bound = "S: Deserialize<'de>, K: Deserialize<'de>")]
pub struct RawAnnotation<S, K> {
    id: Option<Integer>,
    image_id: Integer,
    category_id: Option<Integer>,
    bbox: Option<RawBox>,
    area: Option<f64>,
    iscrowd: Option<Flag>,
    pub segmentation: Option<S>,
    pub keypoints: Option<K>,
    pub segments_info: Option<Vec<RawSegment>>,
    pub file_name: Option<Box<str>>,
    /// Present in detector results.
    score: Option<f64>,
}

impl<S, K> RawAnnotation<S, K> {
    pub fn image_id(&self) -> i64 {
        self.image_id.0
    }

    /// The annotation of the object; `Err` names the missing field.
    pub fn object(&self) -> Result<Annotation, String> {
        let missing = |name: &str| {
            if self.score.is_some() {
                format!(
                    "missing field `{name}`; an entry with a `score` is a detector result, not an annotation"
                )
            } else {
                format!("missing field `{name}`")
            }
        };
        let RawBox(bbox) = self.bbox.ok_or_else(|| missing("bbox"))?;
        Ok(Annotation {
            id: self.id.ok_or_else(|| missing("id"))?.0,
            image_id: self.image_id.0,
            category_id: self.category_id.ok_or_else(|| missing("category_id"))?.0,
            bbox,
            area: self.area.unwrap_or(bbox[2] * bbox[3]),
            crowd: self.iscrowd.is_some_and(|f| f.0),
        })
    }
}

/// A segment of a panoptic image.
#[derive(Deserialize)]
pub struct RawSegment {
    id: Integer,
    category_id: Integer,
    bbox: Option<RawBox>,
    area: Option<f64>,
    iscrowd: Option<Flag>,
}

impl RawSegment {
    /// The box is NaN if the file has none.
    pub fn object(&self, image_id: i64) -> Annotation {
        let RawBox(bbox) = self.bbox.unwrap_or(RawBox([f64::NAN; 4]));
        Annotation {
            id: self.id.0,
            image_id,
            category_id: self.category_id.0,
            bbox,
            area: self.area.unwrap_or(bbox[2] * bbox[3]),
            crowd: self.iscrowd.is_some_and(|f| f.0),
        }
    }
}

#[derive(Deserialize)]
pub struct RawCategory {
    id: Integer,
    name: String,
    supercategory: Option<String>,
    isthing: Option<Flag>,
    /// Some tools write garbage here; anything but names and pairs counts as empty.
    keypoints: Option<Value>,
    skeleton: Option<Value>,
}

impl From<RawCategory> for Category {
    fn from(raw: RawCategory) -> Self {
        let list = |value: Option<Value>| match value {
            Some(Value::Array(list)) => list,
            _ => Vec::new(),
        };
        let names: Option<Vec<String>> = list(raw.keypoints)
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect();
        let pairs: Option<Vec<[u32; 2]>> = list(raw.skeleton)
            .into_iter()
            .map(|pair| serde_json::from_value(pair).ok())
            .collect();
        Category {
            id: raw.id.0,
            name: raw.name,
            supercategory: raw.supercategory,
            is_thing: raw.isthing.map(|f| f.0),
            keypoints: names.unwrap_or_default(),
            skeleton: pairs.unwrap_or_default(),
        }
    }
}

//! `keypoints/1`: named points per instance.
//!
//! `LabelSpec::extra` is a [`Skeleton`] as JSON.

use crate::data::{Array, Field, Fields, Role};
use crate::error::{PluginError, Result};
use serde::{Deserialize, Serialize};

/// The form's name.
pub const FORM: &str = "keypoints/1";
/// f32 `[N, K, 3]`: x, y in pixels; then visibility in targets (0 not labelled, 1 hidden, 2 visible)
/// and the joint's score in predictions.
pub const KEYPOINTS: &str = "keypoints";
/// Boxes, f32 `[N, 4]`, xyxy in pixels.
pub const BOXES: &str = "boxes";
/// The area of each instance in square pixels, f32 `[N]`: what OKS is relative to.
pub const AREAS: &str = "areas";
/// The score of each predicted instance, f32 `[N]` in 0..1.
pub const SCORES: &str = "scores";

/// The keypoints of a data set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Skeleton {
    /// K names.
    pub names: Vec<String>,
    /// K standard deviations of OKS; empty where none are known.
    #[serde(default)]
    pub sigmas: Vec<f64>,
    /// Pairs of keypoints to connect in drawings.
    #[serde(default)]
    pub edges: Vec<[u64; 2]>,
    /// The keypoint that takes each one's place in a mirrored image; empty where none are swapped.
    #[serde(default)]
    pub mirror: Vec<u64>,
}

impl Skeleton {
    /// The skeleton as `LabelSpec::extra`.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The skeleton of a `LabelSpec::extra`.
    pub fn from_json(extra: &str) -> Result<Self> {
        Ok(serde_json::from_str(extra)?)
    }
}

/// Targets: keypoints (x, y, visibility), boxes xyxy in pixels and areas per instance. Fails where an
/// instance has another number of keypoints than the skeleton.
pub fn targets(
    keypoints: &[Vec<[f32; 3]>],
    boxes_xyxy: &[[f32; 4]],
    areas: &[f32],
    skeleton: &Skeleton,
) -> Result<Fields> {
    Ok(Fields::new()
        .and(field(keypoints, skeleton)?)
        .with(BOXES, Role::BOXES, Array::rows(boxes_xyxy))
        .with(AREAS, Role::COLUMN, Array::vector(areas)))
}

/// Predictions: keypoints (x, y, score), boxes xyxy in pixels and scores per instance.
pub fn predictions(
    keypoints: &[Vec<[f32; 3]>],
    boxes_xyxy: &[[f32; 4]],
    scores: &[f32],
    skeleton: &Skeleton,
) -> Result<Fields> {
    Ok(Fields::new()
        .and(field(keypoints, skeleton)?)
        .with(BOXES, Role::BOXES, Array::rows(boxes_xyxy))
        .with(SCORES, Role::COLUMN, Array::vector(scores)))
}

fn field(keypoints: &[Vec<[f32; 3]>], skeleton: &Skeleton) -> Result<Field> {
    let count = skeleton.names.len();
    if let Some(other) = keypoints.iter().find(|points| points.len() != count) {
        return Err(PluginError::failed(format!(
            "an instance has {} keypoints, the skeleton {count}",
            other.len()
        )));
    }
    let flat: Vec<f32> = keypoints.iter().flatten().flatten().copied().collect();
    let array = Array::new(&[keypoints.len() as u64, count as u64, 3], &flat)?;
    Ok(Field::new(KEYPOINTS, Role::KEYPOINTS, array).mirrored_by(&skeleton.mirror))
}

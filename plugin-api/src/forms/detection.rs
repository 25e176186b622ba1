//! `detection/1`: boxes with a class each.

use crate::data::{Array, Fields, Role};

/// The form's name.
pub const FORM: &str = "detection/1";
/// Boxes of targets and predictions, f32 `[N, 4]`, xyxy in pixels.
pub const BOXES: &str = "boxes";
/// The label of each box, i64 `[N]`.
pub const CLASS_LABELS: &str = "class_labels";
/// The score of each predicted box, f32 `[N]` in 0..1.
pub const SCORES: &str = "scores";

/// Targets: boxes xyxy in pixels and their labels.
pub fn targets(boxes_xyxy: &[[f32; 4]], labels: &[i64]) -> Fields {
    Fields::new()
        .with(BOXES, Role::BOXES, Array::rows(boxes_xyxy))
        .with(CLASS_LABELS, Role::COLUMN, Array::vector(labels))
}

/// Predictions: boxes xyxy in pixels, their labels and scores.
pub fn predictions(boxes_xyxy: &[[f32; 4]], labels: &[i64], scores: &[f32]) -> Fields {
    targets(boxes_xyxy, labels).with(SCORES, Role::COLUMN, Array::vector(scores))
}

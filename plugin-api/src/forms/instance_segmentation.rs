//! `instance-segmentation/1`: masks with a class each.
//!
//! Targets have their masks as polygons, run lengths or dense, whatever the annotations have.
//! Predictions cross as run lengths, never as `[N, H, W]`: 100 masks of 12 megapixels are 1.2 GB.

use crate::data::{Array, Field, Fields, Role};

/// The form's name.
pub const FORM: &str = "instance-segmentation/1";
/// Masks: role polygons, run lengths or masks.
pub const MASKS: &str = "masks";
/// Boxes, f32 `[N, 4]`, xyxy in pixels.
pub const BOXES: &str = "boxes";
/// The label of each instance, i64 `[N]`.
pub const CLASS_LABELS: &str = "class_labels";
/// The score of each predicted instance, f32 `[N]` in 0..1.
pub const SCORES: &str = "scores";

/// Targets: masks of any form, boxes xyxy in pixels, and labels.
pub fn targets(masks: Field, boxes_xyxy: &[[f32; 4]], labels: &[i64]) -> Fields {
    Fields::new()
        .and(masks)
        .with(BOXES, Role::BOXES, Array::rows(boxes_xyxy))
        .with(CLASS_LABELS, Role::COLUMN, Array::vector(labels))
}

/// Predictions: COCO's compressed run lengths of masks of this height and width, labels and scores.
pub fn predictions<T: AsRef<str>>(
    [height, width]: [u64; 2],
    run_lengths: &[T],
    labels: &[i64],
    scores: &[f32],
) -> Fields {
    Fields::new()
        .and(Field::run_lengths(MASKS, [height, width], run_lengths))
        .with(CLASS_LABELS, Role::COLUMN, Array::vector(labels))
        .with(SCORES, Role::COLUMN, Array::vector(scores))
}

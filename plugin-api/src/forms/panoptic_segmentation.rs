//! `panoptic-segmentation/1`: a segment per pixel, and a class per segment.
//!
//! `LabelSpec::extra` has `isthing` (0 or 1 per class), and may have `colours` (`[[r, g, b]]`).

use crate::data::{Array, Field, Fields, Role};
use crate::error::Result;

/// The form's name.
pub const FORM: &str = "panoptic-segmentation/1";
/// i64 `[H, W]`: the segment's row in the columns; -1 for void.
pub const SEGMENT_MAP: &str = "segment_map";
/// The label of each segment, i64 `[S]`.
pub const SEGMENT_LABELS: &str = "segment_labels";
/// The score of each predicted segment, f32 `[S]` in 0..1.
pub const SEGMENT_SCORES: &str = "segment_scores";
/// The value of pixels that belong to no segment.
pub const VOID: i64 = -1;

/// Targets: a segment per pixel, row by row (-1 for void), and the label of each segment. Fails where
/// the number of values isn't that of the pixels.
pub fn targets(width: u32, height: u32, segments: &[i64], labels: &[i64]) -> Result<Fields> {
    let map = Array::new(&[u64::from(height), u64::from(width)], segments)?;
    Ok(Fields::new()
        .and(Field::new(SEGMENT_MAP, Role::LABEL_MAP, map).filled_with(VOID as f64))
        .with(SEGMENT_LABELS, Role::COLUMN, Array::vector(labels)))
}

/// Predictions: as [`targets`], with a score per segment.
pub fn predictions(
    width: u32,
    height: u32,
    segments: &[i64],
    labels: &[i64],
    scores: &[f32],
) -> Result<Fields> {
    Ok(targets(width, height, segments, labels)?.with(SEGMENT_SCORES, Role::COLUMN, Array::vector(scores)))
}

//! `semantic-segmentation/1`: a class per pixel.
//!
//! `LabelSpec::extra` may have `colours`: `[[r, g, b]]` in label order.

use crate::data::{Array, Field, Fields, Role};
use crate::error::Result;

/// The form's name.
pub const FORM: &str = "semantic-segmentation/1";
/// Targets and predictions, i64 `[H, W]`; the field's fill is the value that is ignored.
pub const LABEL_MAP: &str = "label_map";
/// Predictions where they are asked for, f32 `[C, H, W]` probabilities.
pub const CLASS_SCORES: &str = "class_scores";

/// Targets: a label per pixel, row by row, and the value of pixels that are ignored. Fails where the
/// number of labels isn't that of the pixels.
pub fn targets(width: u32, height: u32, labels: &[i64], ignored: i64) -> Result<Fields> {
    let map = Array::new(&[u64::from(height), u64::from(width)], labels)?;
    let field = Field::new(LABEL_MAP, Role::LABEL_MAP, map).filled_with(ignored as f64);
    Ok(Fields::new().and(field))
}

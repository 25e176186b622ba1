//! `depth/1`: a distance per pixel.

use crate::data::{Array, Field, Fields, Role};
use crate::error::Result;

/// The form's name.
pub const FORM: &str = "depth/1";
/// Targets and predictions, f32 `[H, W]` metres; the field's fill is the value of "not measured".
pub const DEPTH: &str = "depth";

/// Targets: metres per pixel, row by row, and the value of pixels that were not measured. Fails where
/// the number of values isn't that of the pixels.
pub fn targets(width: u32, height: u32, metres: &[f32], not_measured: f32) -> Result<Fields> {
    let map = Array::new(&[u64::from(height), u64::from(width)], metres)?;
    let field = Field::new(DEPTH, Role::DENSE_MAP, map).filled_with(f64::from(not_measured));
    Ok(Fields::new().and(field))
}

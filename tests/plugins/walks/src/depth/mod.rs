//! Monocular depth. Form `walk-depth/1`:
//!
//! | field | role | content |
//! |---|---|---|
//! | `depth` | dense map | `[H, W]` f32: metres; in targets 0 (the fill) where nothing was measured |
//!
//! There are no classes: `LabelSpec.names` is empty.

pub mod adapter;
mod images;
mod metric;
pub mod task;

use cvhost_plugin_api::data::Fields;
use cvhost_plugin_api::error::{PluginError, Result};

pub const FORM: &str = "walk-depth/1";

/// The depths of an image in metres, row-major, with its width and height.
pub fn depth_of(fields: &Fields) -> Result<(&[f32], u32, u32)> {
    let array = fields.require("depth")?;
    match array.dims() {
        &[height, width] => Ok((array.values()?, width as u32, height as u32)),
        other => Err(PluginError::failed(format!(
            "the depth map has shape {other:?}; expected [H, W]"
        ))),
    }
}

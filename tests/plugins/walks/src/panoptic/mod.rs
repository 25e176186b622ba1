//! Panoptic segmentation. Form `walk-panoptic/1`:
//!
//! | field | role | content |
//! |---|---|---|
//! | `segment_map` | label map | `[H, W]` i32: a pixel's segment, as a row of the columns; -1 (the fill) is void |
//! | `segment_labels` | column | `[S]` i64: each segment's class |
//! | `segment_scores` | column | `[S]` f32, predictions only |
//!
//! `LabelSpec.extra` is `{"isthing": [bool; C]}`. Columns keep their rows when a geometric
//! augmentation moves a segment out of the image: the map alone determines which segments exist.
//! Code that needs individual segments must check which ones the map still contains.

pub mod adapter;
mod images;
mod metric;
pub mod task;

use cvhost_plugin_api::data::LabelSpec;
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::serde_json::{self, Value};

pub const FORM: &str = "walk-panoptic/1";
/// The value of a pixel without a segment.
pub const VOID: i32 = -1;

/// Which classes are things, in label order.
pub fn things(spec: &LabelSpec) -> Result<Vec<bool>> {
    let extra: Value = serde_json::from_str(&spec.extra).unwrap_or_default();
    let list = extra["isthing"].as_array().map(Vec::as_slice).unwrap_or_default();
    let things: Vec<bool> = list.iter().filter_map(Value::as_bool).collect();
    if things.len() != spec.names.len() {
        return Err(PluginError::data(format!(
            "the labels specify for {} of {} classes whether they are things; expected \
             {{\"isthing\": [true or false per class]}} with the labels, found `{}`",
            things.len(),
            spec.names.len(),
            spec.extra
        )));
    }
    Ok(things)
}

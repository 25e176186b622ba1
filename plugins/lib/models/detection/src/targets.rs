//! The targets in a batch.

use crate::forms::{BOXES, CLASS_LABELS};
use cvhost_plugin_api::data::Batch;
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_set_prediction::Targets;

/// The ragged items `boxes` and `class_labels` of `batch`.
///
/// # Errors
/// A missing item, or items with different numbers of rows.
pub fn targets(batch: &Batch) -> Result<Targets> {
    let (boxes, counts) = batch.ragged(BOXES)?;
    let (class_labels, label_counts) = batch.ragged(CLASS_LABELS)?;
    if counts != label_counts {
        return Err(PluginError::data(format!(
            "the images of the batch have {counts:?} boxes but {label_counts:?} class labels"
        )));
    }
    Targets::new(class_labels, boxes, counts)
}

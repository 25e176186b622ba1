//! The inputs of matching and loss.

use cvhost_plugin_api::error::{PluginError, Result};
use tch::{Kind, Tensor};

/// The predictions of one decoder layer.
pub struct Predictions {
    /// `[N, Q, C + 1]`, the last class is "no object".
    pub logits: Tensor,
    /// `[N, Q, 4]`, cxcywh in 0..1.
    pub pred_boxes: Tensor,
}

/// The targets of a batch: the rows of all images concatenated, K in total.
pub struct Targets {
    /// `[K]` i64, 0 ≤ label < C.
    pub class_labels: Tensor,
    /// `[K, 4]` f32, cxcywh in 0..1.
    pub boxes: Tensor,
    /// The number of rows per image.
    pub counts: Vec<i64>,
}

impl Targets {
    /// Targets of `counts` boxes per image.
    ///
    /// # Errors
    /// Shapes that don't match `counts`.
    pub fn new(class_labels: Tensor, boxes: Tensor, counts: Vec<i64>) -> Result<Self> {
        let total: i64 = counts.iter().sum();
        // A batch without any box may have the shape `[0]` instead of `[0, 4]`.
        if class_labels.size() != [total] || (total > 0 && boxes.size() != [total, 4]) {
            return Err(PluginError::failed(format!(
                "targets of {total} boxes: expected `class_labels` [{total}] and \
                 `boxes` [{total}, 4], got {:?} and {:?}",
                class_labels.size(),
                boxes.size()
            )));
        }
        Ok(Targets {
            class_labels: class_labels.to_kind(Kind::Int64),
            boxes: boxes.to_kind(Kind::Float).reshape([total, 4]),
            counts,
        })
    }

    /// The total number of boxes.
    pub fn total(&self) -> i64 {
        self.counts.iter().sum()
    }

    /// The number of images.
    pub fn images(&self) -> usize {
        self.counts.len()
    }
}

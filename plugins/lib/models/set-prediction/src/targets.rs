//! What goes into matching and loss.

use cvhost_plugin_api::data::Batch;
use cvhost_plugin_api::error::{PluginError, Result};
use tch::{Kind, Tensor};

/// What one decoder layer predicts.
pub struct Predictions {
    /// `[N, Q, C + 1]`, the last class is "no object".
    pub logits: Tensor,
    /// `[N, Q, 4]`, cxcywh in 0..1.
    pub pred_boxes: Tensor,
}

/// The targets of a batch: the images' rows one after the other, K in all.
pub struct Targets {
    /// `[K]` i64, 0 ≤ label < C.
    pub class_labels: Tensor,
    /// `[K, 4]` f32, cxcywh in 0..1.
    pub boxes: Tensor,
    /// How many rows each image has.
    pub counts: Vec<i64>,
}

impl Targets {
    /// The ragged items `boxes` and `class_labels` of a batch. Fails where one is missing, or where they disagree about the
    /// number of boxes.
    pub fn from_batch(batch: &Batch) -> Result<Self> {
        let (boxes, counts) = batch.ragged("boxes")?;
        let (class_labels, label_counts) = batch.ragged("class_labels")?;
        if counts != label_counts {
            return Err(PluginError::data(format!(
                "the images of a batch have {counts:?} boxes but {label_counts:?} class labels"
            )));
        }
        Self::new(class_labels, boxes, counts)
    }

    /// Checks shapes against `counts`.
    pub fn new(class_labels: Tensor, boxes: Tensor, counts: Vec<i64>) -> Result<Self> {
        let total: i64 = counts.iter().sum();
        // A batch without any box may come as `[0]` instead of `[0, 4]`.
        if class_labels.size() != [total] || (total > 0 && boxes.size() != [total, 4]) {
            return Err(PluginError::failed(format!(
                "targets of {total} boxes: expected `class_labels` [{total}] and `boxes` [{total}, 4], got {:?} and {:?}",
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

    /// The number of boxes in all images.
    pub fn total(&self) -> i64 {
        self.counts.iter().sum()
    }

    /// The number of images.
    pub fn images(&self) -> usize {
        self.counts.len()
    }
}

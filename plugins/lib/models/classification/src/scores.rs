//! Converts logits to predictions.

use crate::CLASS_SCORES;
use cvhost_plugin_api::data::{Array, Fields, Role};
use cvhost_plugin_api::error::Result;
use tch::{Device, Kind, Tensor};

/// Maps `logits` `[N, C]` to one field `class_scores` per image, f32 `[C]` in label order: softmax
/// probabilities, or sigmoid values if labels are not exclusive. Computed in float32.
pub fn scores(logits: &Tensor, multi_label: bool) -> Result<Vec<Fields>> {
    let (_, classes) = logits.size2()?;
    let logits = logits.to_kind(Kind::Float);
    let values = match multi_label {
        true => logits.f_sigmoid()?,
        false => logits.f_softmax(-1, Kind::Float)?,
    };
    let values = Vec::<f32>::try_from(values.to_device(Device::Cpu).contiguous().reshape([-1]))?;
    let fields = |row: &[f32]| Fields::new().with(CLASS_SCORES, Role::DISTRIBUTION, Array::vector(row));
    Ok(values.chunks(classes.max(1) as usize).map(fields).collect())
}

//! Reads and validates predictions of the form `detection/1`.

use cvhost_plugin_api::data::{DType, Fields};
use cvhost_plugin_api::{PluginError, Result};

/// One predicted box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    pub label: i64,
    pub score: f32,
    /// `[x1, y1, x2, y2]` in original pixels.
    pub xyxy: [f64; 4],
}

/// The predictions of one image, in the model's order, and the number of those skipped because they
/// contain NaN or infinities (a diverged model produces such values).
pub fn read(fields: &Fields) -> Result<(Vec<Prediction>, usize)> {
    let boxes = fields.require("boxes")?.to_rows::<4>()?;
    let labels = fields.require("class_labels")?.values::<i64>()?;
    let scores = fields.require("scores")?;
    let scores: Vec<f32> = match scores.dtype() {
        DType::F32 => scores.values::<f32>()?.to_vec(),
        _ => scores.to_f64()?.into_iter().map(|s| s as f32).collect(),
    };
    if boxes.len() != labels.len() || boxes.len() != scores.len() {
        return Err(PluginError::failed(format!(
            "predictions have {} boxes, {} class_labels and {} scores; the counts must be equal",
            boxes.len(),
            labels.len(),
            scores.len()
        )));
    }
    let all = boxes.len();
    let mut predictions = Vec::with_capacity(all);
    for ((xyxy, &label), score) in boxes.into_iter().zip(labels).zip(scores) {
        if score.is_finite() && xyxy.iter().all(|v| v.is_finite()) {
            predictions.push(Prediction { label, score, xyxy });
        }
    }
    let left_out = all - predictions.len();
    Ok((predictions, left_out))
}

/// The predictions of one image, best first; equal scores keep the model's order.
pub fn best_first(fields: &Fields) -> Result<Vec<Prediction>> {
    let (mut predictions, _) = read(fields)?;
    predictions.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(predictions)
}

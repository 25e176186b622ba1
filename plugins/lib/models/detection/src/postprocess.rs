//! Raw outputs to predictions in original pixels.

use crate::forms::{BOXES, CLASS_LABELS, SCORES};
use cvhost_plugin_api::data::{Array, Fields, Meta, Role};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_set_prediction::cxcywh_to_xyxy;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

/// Which detections are returned.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DetectionOptions {
    /// Only scores above this.
    pub threshold: f64,
    /// Maximum number of detections per image; those with the best scores are returned.
    pub max_detections: Option<usize>,
}

impl DetectionOptions {
    /// From the `options` of `Model::finish`: `threshold` (default 0) and `max_detections`
    /// (default: unlimited).
    ///
    /// # Errors
    /// A value of the wrong type.
    pub fn from_json(options: &Value) -> Result<Self> {
        let given = |key: &str| options.get(key).filter(|v| !v.is_null());
        let wrong = |key: &str, expected: &str, value: &Value| {
            PluginError::failed(format!(
                "finish: option `{key}`: expected {expected}, got {value}"
            ))
        };
        let threshold = match given("threshold") {
            None => 0.0,
            Some(v) => v.as_f64().ok_or_else(|| wrong("threshold", "a number", v))?,
        };
        let max_detections = match given("max_detections") {
            None => None,
            Some(v) => {
                let count = v
                    .as_u64()
                    .ok_or_else(|| wrong("max_detections", "a non-negative integer", v))?;
                Some(usize::try_from(count).unwrap_or(usize::MAX))
            }
        };
        Ok(DetectionOptions {
            threshold,
            max_detections,
        })
    }
}

/// Each query's best class other than "no object", its softmax probability, and the query's box in
/// pixels of the original image.
///
/// `logits` `[N, Q, C + 1]`, `pred_boxes` `[N, Q, 4]` cxcywh relative to the image. Returns the
/// predictions of the form `detection/1` per image, in query order: `boxes` `[K, 4]` f32 xyxy,
/// `class_labels` `[K]` i64, `scores` `[K]` f32.
///
/// # Errors
/// Inconsistent shapes.
pub fn detections(
    logits: &Tensor,
    pred_boxes: &Tensor,
    metas: &[Meta],
    options: &DetectionOptions,
) -> Result<Vec<Fields>> {
    let (images, queries, classes) = logits.size3()?;
    if images != metas.len() as i64 || pred_boxes.size() != [images, queries, 4] || queries < 1 || classes < 2
    {
        return Err(PluginError::failed(format!(
            "finish: got logits {:?} and boxes {:?} for {} images; expected [N, Q, C + 1] and [N, Q, 4]",
            logits.size(),
            pred_boxes.size(),
            metas.len()
        )));
    }
    let probabilities = logits.softmax(-1, Kind::Float).narrow(-1, 0, classes - 1);
    let (scores, labels) = probabilities.max_dim(-1, false);
    let boxes = cxcywh_to_xyxy(&pred_boxes.to_kind(Kind::Float));
    let scores = to_vec::<f32>(&scores)?;
    let labels = to_vec::<i64>(&labels)?;
    let boxes = to_vec::<f32>(&boxes)?;

    let queries = queries as usize;
    let images = scores
        .chunks(queries)
        .zip(labels.chunks(queries))
        .zip(boxes.chunks(queries * 4));
    Ok(images
        .zip(metas)
        .map(|(((scores, labels), boxes), meta)| filter(scores, labels, boxes, meta, options))
        .collect())
}

/// One image's detections; `boxes` are xyxy relative to the image.
fn filter(scores: &[f32], labels: &[i64], boxes: &[f32], meta: &Meta, options: &DetectionOptions) -> Fields {
    let scale = [
        meta.width as f32,
        meta.height as f32,
        meta.width as f32,
        meta.height as f32,
    ];
    let mut kept: Vec<(usize, f32, i64, [f32; 4])> = scores
        .iter()
        .zip(labels)
        .zip(boxes.chunks_exact(4))
        .enumerate()
        .filter(|(_, ((score, _), _))| f64::from(**score) > options.threshold)
        .map(|(query, ((&score, &label), b))| {
            let mut xyxy = [0.0; 4];
            for ((pixel, relative), side) in xyxy.iter_mut().zip(b).zip(scale) {
                *pixel = relative * side;
            }
            (query, score, label, xyxy)
        })
        .collect();
    if let Some(most) = options.max_detections.filter(|&most| most < kept.len()) {
        kept.sort_by(|a, b| b.1.total_cmp(&a.1));
        kept.truncate(most);
        kept.sort_by_key(|k| k.0);
    }
    let boxes: Vec<[f32; 4]> = kept.iter().map(|k| k.3).collect();
    let labels: Vec<i64> = kept.iter().map(|k| k.2).collect();
    let scores: Vec<f32> = kept.iter().map(|k| k.1).collect();
    Fields::new()
        .with(BOXES, Role::BOXES, Array::rows(&boxes))
        .with(CLASS_LABELS, Role::COLUMN, Array::vector(&labels))
        .with(SCORES, Role::COLUMN, Array::vector(&scores))
}

fn to_vec<T: tch::kind::Element + Copy>(tensor: &Tensor) -> Result<Vec<T>>
where
    Vec<T>: TryFrom<Tensor, Error = tch::TchError>,
{
    Ok(Vec::<T>::try_from(
        tensor.to_device(Device::Cpu).contiguous().reshape([-1]),
    )?)
}

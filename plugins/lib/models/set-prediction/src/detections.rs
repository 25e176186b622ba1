//! From raw outputs to predictions in original pixels.

use crate::boxes::cxcywh_to_xyxy;
use cvhost_plugin_api::data::{Array, Fields, Meta, Role};
use cvhost_plugin_api::error::{PluginError, Result};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

/// Which detections are kept.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DetectionOptions {
    /// Scores must be above it.
    pub threshold: f64,
    /// At most so many an image, those with the best scores.
    pub max_detections: Option<usize>,
}

impl DetectionOptions {
    /// From the `options` of `Model::finish`: `threshold` (0.0) and `max_detections` (all).
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
                    .ok_or_else(|| wrong("max_detections", "a whole number", v))?;
                Some(usize::try_from(count).unwrap_or(usize::MAX))
            }
        };
        Ok(DetectionOptions {
            threshold,
            max_detections,
        })
    }
}

/// Each query's best class (never "no object") with its softmax probability, and its box in pixels of the original image.
///
/// `logits` `[N, Q, C + 1]`, `pred_boxes` `[N, Q, 4]` cxcywh relative to the image. Gives per image, in query order,
/// the form `detection/1`: `boxes` `[K, 4]` f32 xyxy, `class_labels` `[K]` i64, `scores` `[K]` f32.
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
            "finish: logits {:?} and boxes {:?} for {} images",
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
        .map(|(((scores, labels), boxes), meta)| keep(scores, labels, boxes, meta, options))
        .collect())
}

fn keep(scores: &[f32], labels: &[i64], boxes: &[f32], meta: &Meta, options: &DetectionOptions) -> Fields {
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
        .with("boxes", Role::BOXES, Array::rows(&boxes))
        .with("class_labels", Role::COLUMN, Array::vector(&labels))
        .with("scores", Role::COLUMN, Array::vector(&scores))
}

fn to_vec<T: tch::kind::Element + Copy>(tensor: &Tensor) -> Result<Vec<T>>
where
    Vec<T>: TryFrom<Tensor, Error = tch::TchError>,
{
    Ok(Vec::<T>::try_from(
        tensor.to_device(Device::Cpu).contiguous().reshape([-1]),
    )?)
}

//! Filtering of predictions.

use cvhost_plugin_api::data::{Array, Fields, Role};
use cvhost_plugin_api::error::{PluginError, Result};

/// Class-agnostic non-maximum suppression that also removes the smallest boxes.
pub struct Filter {
    /// Minimum shorter side of a box, in pixels of the image.
    pub min_box_size: f64,
    /// Maximum IoU of two boxes; `None` for no limit.
    pub iou_threshold: Option<f64>,
    /// Maximum number of boxes per image; `None` for no limit.
    pub max_detections: Option<u64>,
}

impl Filter {
    /// Returns the predictions (form `detection/1`) that pass the filter, in their original order.
    pub fn apply(&self, predictions: &Fields) -> Result<Fields> {
        let boxes = predictions.require("boxes")?.to_rows::<4>()?;
        let scores = predictions.require("scores")?.values::<f32>()?;
        let classes = predictions.require("class_labels")?.values::<i64>()?;
        if boxes.len() != scores.len() || boxes.len() != classes.len() {
            return Err(PluginError::failed(format!(
                "{} boxes, {} scores and {} classes: expected the same number of each",
                boxes.len(),
                scores.len(),
                classes.len()
            )));
        }
        let kept = self.kept(&boxes, scores);
        let rows: Vec<[f32; 4]> = kept.iter().map(|&i| boxes[i].map(|v| v as f32)).collect();
        let classes: Vec<i64> = kept.iter().map(|&i| classes[i]).collect();
        let scores: Vec<f32> = kept.iter().map(|&i| scores[i]).collect();
        Ok(Fields::new()
            .with("boxes", Role::BOXES, Array::rows(&rows))
            .with("class_labels", Role::COLUMN, Array::vector(&classes))
            .with("scores", Role::COLUMN, Array::vector(&scores)))
    }

    /// Indices of the retained predictions, in ascending order.
    fn kept(&self, boxes: &[[f64; 4]], scores: &[f32]) -> Vec<usize> {
        let most = self.max_detections.map_or(usize::MAX, |most| most as usize);
        let mut order: Vec<usize> = (0..boxes.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let mut kept: Vec<usize> = Vec::new();
        for i in order {
            let [x0, y0, x1, y1] = boxes[i];
            let overlaps = |&j: &usize| {
                self.iou_threshold
                    .is_some_and(|most| iou(boxes[i], boxes[j]) > most)
            };
            if kept.len() < most && (x1 - x0).min(y1 - y0) >= self.min_box_size && !kept.iter().any(overlaps)
            {
                kept.push(i);
            }
        }
        kept.sort_unstable();
        kept
    }
}

/// Intersection over union of two xyxy boxes.
fn iou(a: [f64; 4], b: [f64; 4]) -> f64 {
    let area = |[x0, y0, x1, y1]: [f64; 4]| (x1 - x0).max(0.0) * (y1 - y0).max(0.0);
    let common = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let all = area(a) + area(b) - common;
    if all > 0.0 { common / all } else { 0.0 }
}

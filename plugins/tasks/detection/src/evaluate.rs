//! COCO evaluation of boxes: the twelve summary metrics and per-class values.
//!
//! Matching and averaging are done by hotcoco, which reproduces the reference implementation
//! (pycocotools) exactly. An image is matched as soon as its predictions arrive, and about 20 bytes
//! per prediction are kept. As in COCO, the 100 best predictions per class and image count, without
//! a score threshold.

use crate::predictions;
use crate::state;
use cvhost_plugin_api::data::{Array, Artifact, Fields, LabelSpec, MetricInfo, Report, Table};
use cvhost_plugin_api::sdk::Evaluator;
use cvhost_plugin_api::{PluginError, Result};
use hotcoco::{AccumulatedEval, Annotation, Category, EvalMode, Image, IouType, Params, StreamingEval};
use serde::Serialize;
use std::collections::BTreeMap;

/// COCO's twelve summary metrics in the order of the reference implementation, with descriptions.
const SUMMARY: [(&str, &str); 12] = [
    (
        "map",
        "average precision, mean over IoU 0.50 to 0.95 and over classes",
    ),
    ("map_50", "average precision at IoU 0.50"),
    ("map_75", "average precision at IoU 0.75"),
    ("map_small", "average precision of objects below 32² pixels"),
    (
        "map_medium",
        "average precision of objects from 32² to 96² pixels",
    ),
    ("map_large", "average precision of objects above 96² pixels"),
    ("mar_1", "average recall with 1 prediction per image and class"),
    ("mar_10", "average recall with 10 predictions per image and class"),
    (
        "mar_100",
        "average recall with 100 predictions per image and class",
    ),
    ("mar_small", "average recall of objects below 32² pixels"),
    ("mar_medium", "average recall of objects from 32² to 96² pixels"),
    ("mar_large", "average recall of objects above 96² pixels"),
];

/// Indices of the IoU thresholds 0.50 and 0.75 among COCO's ten.
const IOU_50: usize = 0;
const IOU_75: usize = 5;

/// The metrics by name. A value is NaN if it is undefined (no object of that class or size).
pub fn metrics() -> Vec<MetricInfo> {
    let mut metrics: Vec<MetricInfo> = SUMMARY
        .iter()
        .map(|(name, what)| MetricInfo::higher(name, what))
        .collect();
    metrics.push(MetricInfo::higher(
        "map_<class>",
        "average precision of one class, mean over IoU 0.50 to 0.95",
    ));
    metrics.push(MetricInfo::higher(
        "mar_100_<class>",
        "average recall of one class with 100 predictions per image",
    ));
    metrics
}

/// A prediction as evaluated and saved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detected {
    pub label: u32,
    /// `[x, y, width, height]` in original pixels.
    pub xywh: [f64; 4],
    pub score: f64,
}

/// Predictions by image id.
pub type Kept = BTreeMap<u64, Box<[Detected]>>;

pub struct CocoEvaluator {
    spec: LabelSpec,
    matcher: StreamingEval,
    /// All predictions, if `predictions.json` is to be saved.
    kept: Option<Kept>,
    /// Number of predictions with NaN or infinities.
    left_out: usize,
}

impl CocoEvaluator {
    pub fn new(spec: &LabelSpec, save_predictions: bool) -> Result<Self> {
        // Classes are matched by label; category ids are only used in the output format.
        let categories = (0u64..)
            .zip(&spec.names)
            .map(|(id, name)| Category {
                id,
                name: name.to_string(),
                ..Default::default()
            })
            .collect();
        Ok(CocoEvaluator {
            spec: spec.clone(),
            matcher: StreamingEval::new(Params::new(IouType::Bbox), EvalMode::Coco, categories)
                .map_err(failed)?,
            kept: save_predictions.then(Kept::new),
            left_out: 0,
        })
    }

    /// The detections of an image, excluding classes that the dataset lacks.
    fn detected(&mut self, fields: &Fields) -> Result<Box<[Detected]>> {
        let (predictions, left_out) = predictions::read(fields)?;
        self.left_out += left_out;
        let mut detected = Vec::with_capacity(predictions.len());
        for p in predictions {
            let id = usize::try_from(p.label)
                .ok()
                .and_then(|label| self.spec.ids.get(label));
            let id = id.ok_or_else(|| {
                PluginError::failed(format!(
                    "the model predicts label {}, but there are only {} classes",
                    p.label,
                    self.spec.ids.len()
                ))
            })?;
            if *id >= 0 {
                let [x1, y1, x2, y2] = p.xyxy;
                let xywh = [x1, y1, x2 - x1, y2 - y1];
                detected.push(Detected {
                    label: p.label as u32,
                    xywh,
                    score: f64::from(p.score),
                });
            }
        }
        Ok(detected.into())
    }

    fn artifact(&self, kept: &Kept) -> Result<Artifact> {
        #[derive(Serialize)]
        struct Entry {
            image_id: u64,
            category_id: i64,
            bbox: [f64; 4],
            score: f64,
        }
        let mut entries = Vec::new();
        for (&image_id, predictions) in kept {
            for p in predictions.iter() {
                let category_id = self.spec.ids.get(p.label as usize).copied().unwrap_or(-1);
                entries.push(Entry {
                    image_id,
                    category_id,
                    bbox: p.xywh,
                    score: p.score,
                });
            }
        }
        Ok(Artifact {
            file_name: "predictions.json".into(),
            bytes: serde_json::to_vec(&entries)?.into(),
            extra: Default::default(),
        })
    }
}

impl Evaluator for CocoEvaluator {
    fn update(&mut self, ids: &[u64], predictions: &[Fields], targets: &[Fields]) -> Result<()> {
        if ids.len() != predictions.len() || ids.len() != targets.len() {
            return Err(PluginError::failed(format!(
                "got {} records with {} predictions and {} targets",
                ids.len(),
                predictions.len(),
                targets.len()
            )));
        }
        let (mut images, mut truths, mut found) = (Vec::new(), Vec::new(), Vec::new());
        for (prediction, target) in predictions.iter().zip(targets) {
            let image = image_id(target)?;
            if images.iter().any(|known: &Image| known.id == image) {
                continue; // a sampler that pads its last batch repeats images
            }
            images.push(Image {
                id: image,
                ..Default::default()
            });
            truths.extend(ground_truth(image, target.require("ground_truth")?)?);
            let detected = self.detected(prediction)?;
            found.extend(detected.iter().map(|d| Annotation {
                image_id: image,
                category_id: u64::from(d.label),
                bbox: Some(d.xywh),
                score: Some(d.score),
                ..Default::default()
            }));
            if let Some(kept) = &mut self.kept {
                kept.insert(image, detected);
            }
        }
        self.matcher.update(images, truths, found).map_err(failed)
    }

    fn state(&self) -> Result<Vec<u8>> {
        Ok(state::write(&self.matcher.to_bytes(), self.kept.as_ref()))
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        let (matcher, kept) = state::read(bytes)?;
        self.matcher
            .merge(StreamingEval::from_bytes(matcher).map_err(failed)?)
            .map_err(failed)?;
        if let (Some(own), Some(other)) = (&mut self.kept, kept) {
            own.extend(other);
        }
        Ok(())
    }

    fn compute(&mut self) -> Result<Report> {
        if self.left_out > 0 {
            tracing::warn!(
                "{} predictions contain NaN or infinities and were not evaluated",
                self.left_out
            );
        }
        let mut evaluation = self.matcher.clone().finalize();
        evaluation.accumulate();
        evaluation.summarize_lines(); // computes the metrics without printing them
        let mut report = Report::default();
        for (i, (name, _)) in SUMMARY.iter().enumerate() {
            report.push(
                *name,
                measured(evaluation.stats().and_then(|s| s.get(i)).copied().unwrap_or(-1.0)),
            );
        }
        if let Some(accumulated) = evaluation.accumulated() {
            push_classes(&mut report, accumulated, &self.spec);
        }
        if let Some(kept) = &self.kept {
            report.artifacts.push(self.artifact(kept)?);
        }
        Ok(report)
    }
}

fn failed(error: hotcoco::Error) -> PluginError {
    PluginError::failed(format!("COCO evaluation: {error}"))
}

fn image_id(target: &Fields) -> Result<u64> {
    let id = target.require("image_id")?.values::<i64>()?.first().copied();
    id.and_then(|id| u64::try_from(id).ok()).ok_or_else(|| {
        PluginError::failed(format!(
            "a target's `image_id` must be one non-negative number, got {id:?}"
        ))
    })
}

/// Converts the rows of `ground_truth` for hotcoco.
fn ground_truth(image: u64, rows: &Array) -> Result<impl Iterator<Item = Annotation>> {
    Ok(rows
        .to_rows::<7>()?
        .into_iter()
        .map(move |[label, x, y, w, h, area, crowd]| Annotation {
            image_id: image,
            category_id: label as u64,
            bbox: Some([x, y, w, h]),
            area: Some(area),
            iscrowd: crowd != 0.0,
            ..Default::default()
        }))
}

/// COCO uses -1 for undefined values.
fn measured(value: f64) -> f64 {
    if value < 0.0 { f64::NAN } else { value }
}

/// The mean of the defined values.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0u32);
    for value in values.filter(|v| *v > -1.0) {
        sum += value;
        count += 1;
    }
    if count == 0 {
        f64::NAN
    } else {
        sum / f64::from(count)
    }
}

/// Adds the values of each class in the dataset, as scalars and as a table.
fn push_classes(report: &mut Report, accumulated: &AccumulatedEval, spec: &LabelSpec) {
    const ALL_AREAS: usize = 0;
    let shape = accumulated.shape;
    let last_limit = shape.m.saturating_sub(1); // the last limit on predictions is 100
    let precision = |thresholds: std::ops::Range<usize>, class: usize| {
        mean(thresholds.flat_map(|t| {
            (0..shape.r).filter_map(move |r| {
                accumulated
                    .precision
                    .get(shape.precision_idx(t, r, class, ALL_AREAS, last_limit))
                    .copied()
            })
        }))
    };
    let recall = |class: usize| {
        mean((0..shape.t).filter_map(|t| {
            accumulated
                .recall
                .get(shape.recall_idx(t, class, ALL_AREAS, last_limit))
                .copied()
        }))
    };
    let mut table = Table {
        name: "classes".into(),
        columns: ["class", "map", "map_50", "map_75", "mar_100"]
            .map(Into::into)
            .to_vec()
            .into(),
        ..Default::default()
    };
    let shown = |value: f64| {
        if value.is_nan() {
            "-".to_owned()
        } else {
            format!("{value:.3}")
        }
    };
    for (class, (name, id)) in spec.names.iter().zip(&spec.ids).enumerate() {
        if *id < 0 || class >= shape.k {
            continue;
        }
        let (map, mar) = (precision(0..shape.t, class), recall(class));
        report.push(format!("map_{name}"), map);
        report.push(format!("mar_100_{name}"), mar);
        let (map_50, map_75) = (
            precision(IOU_50..IOU_50 + 1, class),
            precision(IOU_75..IOU_75 + 1, class),
        );
        let row = [
            name.to_string(),
            shown(map),
            shown(map_50),
            shown(map_75),
            shown(mar),
        ];
        table.rows.push(row.map(Into::into).to_vec().into());
    }
    report.tables.push(table);
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;

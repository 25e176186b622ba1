//! Accuracy, precision, recall, F1 and AUROC as defined by scikit-learn (`zero_division=0`).
//!
//! A single-label image is assigned the class with the highest score, a multi-label image all
//! classes with a score of at least 0.5. Averages are over the classes that appear in the truth or
//! in the predictions; in a multi-label dataset over all its classes.

use crate::gathered::Gathered;
use crate::measures::{self, Counts, mean};
use crate::predictions;
use crate::scores;
use cvhost_plugin_api::data::Text;
use cvhost_plugin_api::data::{Curve, Fields, LabelSpec, Matrix, MetricInfo, Report, Table};
use cvhost_plugin_api::sdk::Evaluator;
use cvhost_plugin_api::{PluginError, Result};
use serde_json::Value;

/// The metrics that aren't per class, with descriptions.
const SUMMARY: [(&str, &str); 9] = [
    (
        "accuracy",
        "fraction of correctly predicted images; for multi-label images, with exactly their classes",
    ),
    (
        "accuracy_top_5",
        "fraction of images with a true class among the five best scores",
    ),
    ("precision", "precision, mean over classes"),
    ("recall", "recall, mean over classes"),
    (
        "f1",
        "F1 (harmonic mean of precision and recall), mean over classes",
    ),
    (
        "precision_weighted",
        "precision, mean weighted by the number of images per class",
    ),
    (
        "recall_weighted",
        "recall, mean weighted by the number of images per class",
    ),
    (
        "f1_weighted",
        "F1, mean weighted by the number of images per class",
    ),
    (
        "auroc",
        "area under the ROC curve, one class versus the rest, mean over classes",
    ),
];

/// ROC curves are reported for at most this many classes, with about this many points.
const MAX_CURVES: usize = 50;
const CURVE_POINTS: usize = 200;
/// A confusion matrix is reported for at most this many classes.
const MAX_MATRIX_CLASSES: usize = 200;
/// It is also reported as a human-readable table for at most this many classes.
const MAX_TABLE_CLASSES: usize = 20;
/// Maximum number of worst images that are listed.
const MAX_WORST: usize = 100;

/// The metrics by name. A value is NaN if it is undefined.
pub fn metrics() -> Vec<MetricInfo> {
    let classes = [
        (
            "precision_<class>",
            "of the images predicted as the class, the fraction that has it",
        ),
        (
            "recall_<class>",
            "of the images that have the class, the fraction predicted as it",
        ),
        ("f1_<class>", "harmonic mean of precision and recall of one class"),
        (
            "auroc_<class>",
            "area under the ROC curve of one class versus the rest",
        ),
    ];
    SUMMARY
        .iter()
        .chain(&classes)
        .map(|(name, what)| MetricInfo::higher(name, what))
        .collect()
}

pub struct ClassificationEvaluator {
    spec: LabelSpec,
    multi_label: bool,
    gathered: Gathered,
    save_predictions: bool,
    /// Number of images with NaN scores.
    broken: u64,
}

impl ClassificationEvaluator {
    pub fn new(spec: &LabelSpec, save_predictions: bool) -> Result<Self> {
        let multi_label = if spec.extra.is_empty() {
            false
        } else {
            let extra: Value = serde_json::from_str(&spec.extra)?;
            extra["multi_label"].as_bool().unwrap_or(false)
        };
        Ok(ClassificationEvaluator {
            gathered: Gathered::new(spec.names.len(), save_predictions),
            spec: spec.clone(),
            multi_label,
            save_predictions,
            broken: 0,
        })
    }

    /// Whether the class is evaluated: in a multi-label dataset, predictions of checkpoint classes
    /// that the dataset lacks can't be judged.
    fn judged(&self, label: usize) -> bool {
        !self.multi_label || self.spec.ids.get(label).is_none_or(|id| *id >= 0)
    }

    /// The classes that a target has, as flags.
    fn truth(&self, target: &Fields) -> Result<Vec<bool>> {
        let values = target.require("class_distribution")?.to_f64()?;
        if values.len() != self.spec.names.len() {
            return Err(PluginError::failed(format!(
                "a target has {} values in class_distribution, but there are {} classes",
                values.len(),
                self.spec.names.len()
            )));
        }
        let truth: Vec<bool> = values.iter().map(|v| *v >= 0.5).collect();
        let count = truth.iter().filter(|t| **t).count();
        if !self.multi_label && count != 1 {
            return Err(PluginError::failed(format!(
                "a target has {count} classes in class_distribution; in a single-label dataset \
                 there must be exactly one"
            )));
        }
        Ok(truth)
    }
}

impl Evaluator for ClassificationEvaluator {
    fn update(&mut self, ids: &[u64], predictions: &[Fields], targets: &[Fields]) -> Result<()> {
        if ids.len() != predictions.len() || ids.len() != targets.len() {
            return Err(PluginError::failed(format!(
                "got {} records with {} predictions and {} targets",
                ids.len(),
                predictions.len(),
                targets.len()
            )));
        }
        for ((&id, prediction), target) in ids.iter().zip(predictions).zip(targets) {
            let (scores, broken) = scores::read(prediction, &self.spec)?;
            self.broken += u64::from(broken);
            let name = match target.get("image") {
                Some(name) if self.save_predictions => name.as_text()?,
                _ => "",
            };
            self.gathered.add(id, &scores, &self.truth(target)?, name);
        }
        Ok(())
    }

    fn state(&self) -> Result<Vec<u8>> {
        Ok(self.gathered.to_bytes())
    }

    fn merge(&mut self, state: &[u8]) -> Result<()> {
        self.gathered.merge(state)
    }

    fn compute(&mut self) -> Result<Report> {
        if self.broken > 0 {
            tracing::warn!(
                "the scores of {} images contain NaN, which counts as 0",
                self.broken
            );
        }
        let rows = self.gathered.rows();
        let classes = self.spec.names.len();
        let (counts, accuracy) =
            measures::count(&rows, classes, self.multi_label, |label| self.judged(label));
        let points = if classes <= MAX_CURVES { CURVE_POINTS } else { 0 };
        let mut curves = Vec::new();
        let mut areas = Vec::with_capacity(classes);
        for label in 0..classes {
            let (area, curve) = measures::auroc(&rows, label, points);
            areas.push(area);
            curves.extend(curve.map(|(x, y)| self.curve(label, x, y)));
        }

        let mut report = Report::default();
        let counted: Vec<Counts> = counts
            .iter()
            .enumerate()
            .filter(|(label, c)| {
                if self.multi_label {
                    self.judged(*label)
                } else {
                    c.appears()
                }
            })
            .map(|(_, c)| *c)
            .collect();
        let averaged = if rows.is_empty() { &[][..] } else { &counted };
        let values = [
            accuracy,
            measures::top_accuracy(&rows),
            mean(averaged.iter().map(|c| c.precision())),
            mean(averaged.iter().map(|c| c.recall())),
            mean(averaged.iter().map(|c| c.f1())),
            weighted(averaged, Counts::precision),
            weighted(averaged, Counts::recall),
            weighted(averaged, Counts::f1),
            self.mean_area(&areas),
        ];
        for ((name, _), value) in SUMMARY.iter().zip(values) {
            report.push(*name, value);
        }
        self.push_classes(&mut report, &counts, &areas, rows.is_empty());
        report.curves = curves.into();
        if !self.multi_label && classes <= MAX_MATRIX_CLASSES {
            let confusion = self.confusion(&rows);
            if classes <= MAX_TABLE_CLASSES {
                report.tables.push(as_table(&confusion));
            }
            report.matrices.push(confusion);
        }
        let mut worst: Vec<(f32, u64)> = rows
            .iter()
            .filter_map(|row| Some((measures::confidence_of_error(row, self.multi_label)?, row.id)))
            .collect();
        worst.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        worst.truncate(MAX_WORST);
        report.worst = worst.into_iter().map(|(_, id)| id).collect();
        if self.save_predictions {
            let artifact = predictions::artifact(&rows, &self.spec, self.multi_label)?;
            report.artifacts.push(artifact);
        }
        Ok(report)
    }
}

/// The mean of a value weighted by the number of images per class; 0 if there are no images, NaN
/// without classes.
fn weighted(counts: &[Counts], value: impl Fn(Counts) -> f64) -> f64 {
    let total: u64 = counts.iter().map(|c| c.support()).sum();
    match total {
        _ if counts.is_empty() => f64::NAN,
        0 => 0.0,
        _ => {
            let sum: f64 = counts.iter().map(|c| c.support() as f64 * value(*c)).sum();
            sum / total as f64
        }
    }
}

impl ClassificationEvaluator {
    /// The mean of the defined areas. With two mutually exclusive classes it is the area of the
    /// second, as in scikit-learn; the first is equal except for rounding.
    fn mean_area(&self, areas: &[f64]) -> f64 {
        match areas {
            [_, second] if !self.multi_label => *second,
            _ => mean(areas.iter().copied().filter(|a| a.is_finite())),
        }
    }

    fn curve(&self, label: usize, x: Vec<f64>, y: Vec<f64>) -> Curve {
        Curve {
            name: format!("roc_{}", self.spec.name(label as i64)).into(),
            x_label: "false positive rate".into(),
            y_label: "true positive rate".into(),
            x: x.into(),
            y: y.into(),
            extra: Default::default(),
        }
    }

    /// Adds the values of each class, as scalars and as a table. A class that occurs in no image
    /// and no prediction has NaN values and is omitted from the table.
    fn push_classes(&self, report: &mut Report, counts: &[Counts], areas: &[f64], empty: bool) {
        let columns = [
            "class",
            "pictures",
            "predicted",
            "precision",
            "recall",
            "f1",
            "auroc",
        ];
        let mut table = Table {
            name: "classes".into(),
            columns: columns.map(Into::into).to_vec().into(),
            ..Default::default()
        };
        for (label, (count, area)) in counts.iter().zip(areas).enumerate() {
            let there = !empty
                && if self.multi_label {
                    self.judged(label)
                } else {
                    count.appears()
                };
            let value = |v: f64| if there { v } else { f64::NAN };
            let name = self.spec.name(label as i64);
            let values = [
                ("precision", value(count.precision())),
                ("recall", value(count.recall())),
                ("f1", value(count.f1())),
                ("auroc", *area),
            ];
            for (metric, value) in values {
                let metric = format!("{metric}_{name}");
                // A class may be called `weighted`; the mean over all classes takes precedence.
                if report.get(&metric).is_none() {
                    report.push(metric, value);
                }
            }
            if there {
                let mut row = vec![name, count.support().to_string(), count.predicted().to_string()];
                row.extend(values.map(|(_, value)| shown(value)));
                table.rows.push(row.into_iter().map(Into::into).collect());
            }
        }
        report.tables.push(table);
    }

    fn confusion(&self, rows: &[crate::gathered::Row<'_>]) -> Matrix {
        let classes = self.spec.names.len();
        let mut values = vec![0.0; classes * classes];
        for row in rows {
            let (predicted, _) = scores::best(row.scores);
            for label in row.labels() {
                if let Some(value) = values.get_mut(label * classes + predicted) {
                    *value += 1.0;
                }
            }
        }
        Matrix {
            name: "confusion".into(),
            labels: self.spec.names.clone(),
            values: values.into(),
            extra: Default::default(),
        }
    }
}

/// The matrix as a table with one row per true class.
fn as_table(matrix: &Matrix) -> Table {
    let count = matrix.labels.len();
    let mut columns: Vec<Text> = vec!["true, predicted as".into()];
    columns.extend(matrix.labels.iter().cloned());
    let row = |(label, values): (&Text, &[f64])| {
        let cells = values.iter().map(|v| v.to_string().into());
        std::iter::once(label.clone()).chain(cells).collect()
    };
    Table {
        name: matrix.name.clone(),
        columns: columns.into(),
        rows: matrix
            .labels
            .iter()
            .zip(matrix.values.chunks(count.max(1)))
            .map(row)
            .collect(),
        extra: Default::default(),
    }
}

fn shown(value: f64) -> String {
    if value.is_nan() {
        "-".to_owned()
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;

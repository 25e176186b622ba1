//! Evaluation: runs every batch of a split through the model and computes the task's metrics.

use crate::context::Moment;
use crate::inference::{Purpose, infer, interruptible};
use crate::means::Means;
use crate::network::Network;
use cvhost::error::{Error, Kind, Result};
use cvhost::plugin_error::checked;
use cvhost::progress::Pass;
use cvhost_data::{HostBatch, Loader, Source};
use cvhost_plugin_api::abi::EvaluatorBox;
use cvhost_plugin_api::abi_stable::std_types::RSlice;
use cvhost_plugin_api::data::{Fields, Meta, Report, Text};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Called with a record's index, its meta and its predictions.
pub type EachImage<'a> = dyn FnMut(u64, &Meta, &Fields) -> Result<()> + 'a;

/// How an evaluation runs.
pub struct EvaluateOptions<'a> {
    /// Label of the progress bar, such as `val` or `test`.
    pub label: &'a str,
    /// The point in training, passed to the model.
    pub moment: Moment,
    /// Options for `finish`. Must not contain a score threshold, which would distort the metrics.
    pub finish: &'a Value,
    /// The maximum number of batches; `None` evaluates all.
    pub max_batches: Option<usize>,
    /// Called for each image, to draw or save predictions.
    pub each: Option<&'a mut EachImage<'a>>,
}

/// Evaluates a network on all batches of a loader.
pub fn evaluate(
    network: &mut Network,
    loader: &Loader,
    evaluator: EvaluatorBox,
    options: EvaluateOptions<'_>,
) -> Result<Evaluation> {
    measure(network, loader, evaluator, options)?.complete()
}

/// Runs all batches through the network and the evaluator without computing the metrics yet, so
/// that the results of several ranks can be merged first.
pub fn measure(
    network: &mut Network,
    loader: &Loader,
    evaluator: EvaluatorBox,
    mut options: EvaluateOptions<'_>,
) -> Result<Measured> {
    let count = loader.batches().min(options.max_batches.unwrap_or(usize::MAX));
    let pass = Pass::new(options.label, count as u64, 0);
    let mut measured = Measured::new(evaluator);
    let batches = interruptible(loader.epoch(0, 0).take(count));
    let purpose = Purpose::Evaluate(options.moment);
    infer(network, batches, purpose, options.finish, |inferred| {
        let metas = &inferred.batch.metas;
        measured.means.add(inferred.forward, metas.len())?;
        measured.update(inferred.batch, &inferred.predictions)?;
        if let Some(each) = options.each.as_mut() {
            for (meta, prediction) in metas.iter().zip(&inferred.predictions) {
                each(meta.index, meta, prediction)?;
            }
        }
        pass.step(|| format!("loss {:.3}", measured.means.loss()));
        Ok(())
    })?;
    Ok(measured)
}

/// An evaluation before its metrics are computed.
pub struct Measured {
    evaluator: EvaluatorBox,
    means: Means,
}

impl Measured {
    /// Creates an empty measurement.
    pub fn new(evaluator: EvaluatorBox) -> Self {
        Measured {
            evaluator,
            means: Means::default(),
        }
    }

    fn update(&mut self, batch: &HostBatch, predictions: &[Fields]) -> Result<()> {
        let ids: Vec<u64> = batch.metas.iter().map(|m| m.index).collect();
        checked(self.evaluator.update(
            RSlice::from_slice(&ids),
            RSlice::from_slice(predictions),
            RSlice::from_slice(&batch.targets),
        ))
    }

    /// Serialises everything measured so far, for [`Measured::merge`] in another process.
    pub fn state(&self) -> Result<Vec<u8>> {
        let means = self.means.to_bytes();
        let mut bytes = (means.len() as u64).to_le_bytes().to_vec();
        bytes.extend(means);
        bytes.extend(checked(self.evaluator.state())?);
        Ok(bytes)
    }

    /// Adds the measurements of another process from its [`Measured::state`].
    ///
    /// # Errors
    /// The bytes are not a valid state.
    pub fn merge(&mut self, state: &[u8]) -> Result<()> {
        let split = |state: &[u8]| {
            let (length, rest) = state.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            let (means, evaluator) = rest.split_at_checked(length)?;
            Some((Means::from_bytes(means)?, evaluator.to_vec()))
        };
        let (means, evaluator) =
            split(state).ok_or_else(|| Error::failed("another rank sent a corrupt evaluation state"))?;
        self.means.merge(&means);
        checked(self.evaluator.merge(RSlice::from_slice(&evaluator)))
    }

    /// Computes the metrics.
    pub fn complete(mut self) -> Result<Evaluation> {
        Ok(Evaluation {
            report: checked(self.evaluator.compute())?,
            loss: self.means.loss(),
            parts: self.means.parts(),
            images: self.means.images(),
        })
    }
}

/// The result of an evaluation.
pub struct Evaluation {
    pub report: Report,
    /// The mean loss over the images.
    pub loss: f64,
    /// The mean of each part of the loss, by name.
    pub parts: Vec<(String, f64)>,
    pub images: usize,
}

impl Evaluation {
    /// The loss, its parts and the metrics in the report's order, each name prefixed with the
    /// split. Values that are not finite (a class without examples) are omitted.
    pub fn named(&self, split: &str) -> Map<String, Value> {
        let loss = [("loss".to_owned(), self.loss)];
        let scalars = self.report.scalars.iter().map(|s| (s.name.to_string(), s.value));
        loss.into_iter()
            .chain(self.parts.iter().cloned())
            .chain(scalars)
            .filter(|(_, value)| value.is_finite())
            .map(|(name, value)| (format!("{split}_{name}"), Value::from(value)))
            .collect()
    }

    /// The rest of the report for events and files: `matrices`, `tables`, `curves`, and `worst`,
    /// the names of the records with the worst predictions. Empty lists are omitted.
    pub fn details(&self, name: &dyn Fn(u64) -> String) -> Map<String, Value> {
        let texts = |list: &[Text]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let report = &self.report;
        let matrices = report.matrices.iter().map(|m| {
            let labels = texts(&m.labels);
            let rows: Vec<&[f64]> = m.values.chunks(labels.len().max(1)).collect();
            json!({"name": m.name.as_str(), "labels": labels, "rows": rows})
        });
        let tables = report.tables.iter().map(|t| {
            let rows: Vec<_> = t.rows.iter().map(|row| texts(row)).collect();
            json!({"name": t.name.as_str(), "columns": texts(&t.columns), "rows": rows})
        });
        let curves = report.curves.iter().map(|c| {
            json!({
                "name": c.name.as_str(), "x_label": c.x_label.as_str(), "y_label": c.y_label.as_str(),
                "x": c.x.as_slice(), "y": c.y.as_slice(),
            })
        });
        let worst = report.worst.iter().map(|index| Value::from(name(*index)));
        let parts: [(&str, Vec<Value>); 4] = [
            ("matrices", matrices.collect()),
            ("tables", tables.collect()),
            ("curves", curves.collect()),
            ("worst", worst.collect()),
        ];
        let present = parts.into_iter().filter(|(_, list)| !list.is_empty());
        present
            .map(|(key, list)| (key.to_owned(), Value::from(list)))
            .collect()
    }

    /// The content of `report.json`: the metrics with the split's prefix, and the
    /// [`Evaluation::details`]. `source` provides the records that were evaluated.
    pub fn document(&self, split: &str, source: &dyn Source) -> Value {
        let name = |index| {
            let record = source.record_of(index).unwrap_or_default();
            if record.name.is_empty() {
                format!("record {index}")
            } else {
                record.name.into_string()
            }
        };
        let mut report = json!({"split": split, "pictures": self.images, "metrics": self.named(split)});
        if let Some(report) = report.as_object_mut() {
            report.extend(self.details(&name));
        }
        report
    }

    /// Writes the files that the task created from its predictions, and returns their paths.
    ///
    /// # Errors
    /// A name is not a plain file name, or the file can't be written.
    pub fn write_artifacts(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        for artifact in &self.report.artifacts {
            let name = artifact.file_name.as_str();
            if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
                return Err(
                    Error::failed(format!("the task plugin asked to write a file named {name:?}"))
                        .with_expected("a plain file name"),
                );
            }
            let path = folder.join(name);
            std::fs::create_dir_all(folder)
                .map_err(|e| Error::io(Kind::Failed, "create the folder", folder, &e))?;
            std::fs::write(&path, &artifact.bytes)
                .map_err(|e| Error::io(Kind::Failed, "write", &path, &e))?;
            written.push(path);
        }
        Ok(written)
    }
}

/// The file name of a report.
pub const REPORT: &str = "report.json";

/// Writes a report document as [`REPORT`] into a folder.
pub fn write_report(document: &Value, folder: &Path) -> Result<()> {
    let path = folder.join(REPORT);
    let text = serde_json::to_string_pretty(document).map_err(|e| Error::failed(format!("JSON: {e}")))?;
    std::fs::write(&path, text + "\n").map_err(|e| Error::io(Kind::Failed, "write", &path, &e))
}

//! One evaluation: every batch of a split through the model, and the task's metrics over all of it.

use crate::batch::to_batch;
use crate::network::{Forward, Network};
use crate::scalars;
use cvhost::error::{Error, Result};
use cvhost::interrupt;
use cvhost::plugin_error::checked;
use cvhost::progress::Pass;
use cvhost_data::{HostBatch, Loader, Source};
use cvhost_plugin_api::abi::EvaluatorBox;
use cvhost_plugin_api::abi_stable::std_types::{RSlice, RString};
use cvhost_plugin_api::data::{Batch, Fields, Meta, Mode, Report, StepContext};
use serde_json::{Value, json};
use tch::no_grad;

/// Called with a record's index, meta and predictions.
pub type EachImage<'a> = dyn FnMut(u64, &Meta, &Fields) -> Result<()> + 'a;

/// How an evaluation is made.
pub struct EvaluateOptions<'a> {
    /// For the progress: `val`, `test`.
    pub label: &'a str,
    /// Steps and epochs so far, for the model.
    pub step: u64,
    pub epoch: u64,
    /// For `finish`: never a score threshold, which ruins metrics.
    pub finish: Value,
    /// Only so many batches; none for all.
    pub most: Option<usize>,
    /// Called with each image's index, meta and predictions: for images and files.
    pub each: Option<&'a mut EachImage<'a>>,
}

/// What an evaluation found.
pub struct Evaluation {
    pub report: Report,
    /// The mean loss over the images.
    pub loss: f64,
    /// The mean of each part of the loss, by name.
    pub parts: Vec<(String, f64)>,
    pub images: usize,
}

/// Evaluates a network on all batches of a loader.
pub fn evaluate(
    network: &mut Network,
    loader: &Loader,
    mut evaluator: EvaluatorBox,
    mut options: EvaluateOptions<'_>,
) -> Result<Evaluation> {
    let batches = loader.batches().min(options.most.unwrap_or(usize::MAX));
    let pass = Pass::new(options.label, batches as u64, 0);
    let mut means = Means::default();
    for batch in loader.epoch(0, 0).take(batches) {
        if interrupt::requested() {
            return Err(interrupt::error());
        }
        let mut host_batch = batch?;
        let batch = to_batch(&mut host_batch, network.device())?;
        let forward = no_grad(|| forward(network, &batch, &options))?;
        let predictions = no_grad(|| network.finish(&forward.outputs, &host_batch.metas, &options.finish))?;
        means.add(&forward, host_batch.metas.len())?;
        update(&mut evaluator, &host_batch, &predictions)?;
        if let Some(each) = options.each.as_mut() {
            for (meta, prediction) in host_batch.metas.iter().zip(&predictions) {
                each(meta.index, meta, prediction)?;
            }
        }
        pass.step(|| format!("loss {:.3}", means.loss()));
    }
    let report = checked(evaluator.compute())?;
    Ok(Evaluation {
        report,
        loss: means.loss(),
        parts: means.parts(),
        images: means.images,
    })
}

fn forward(network: &mut Network, batch: &Batch, options: &EvaluateOptions<'_>) -> Result<Forward> {
    let context = StepContext {
        mode: Mode::EVAL,
        step: options.step,
        epoch: options.epoch,
        normalisers: network.normalisers(batch)?,
    };
    network.forward(batch, &context)
}

fn update(evaluator: &mut EvaluatorBox, batch: &HostBatch, predictions: &[Fields]) -> Result<()> {
    let ids: Vec<u64> = batch.metas.iter().map(|m| m.index).collect();
    checked(evaluator.update(
        RSlice::from_slice(&ids),
        RSlice::from_slice(predictions),
        RSlice::from_slice(&batch.targets),
    ))
}

/// Means over images of the loss and its parts.
#[derive(Default)]
pub struct Means {
    images: usize,
    loss: f64,
    parts: Vec<(String, f64)>,
}

impl Means {
    /// Adds a batch's loss and parts, in one copy from the device.
    pub fn add(&mut self, forward: &Forward, images: usize) -> Result<()> {
        let parts = forward.parts.iter().map(|(_, value)| value);
        let packed = scalars::pack(forward.loss.iter().chain(parts))?;
        let mut values = scalars::read(&packed)?.into_iter();
        let loss = forward.loss.as_ref().and_then(|_| values.next());
        let names = forward.parts.iter().map(|(name, _)| name.as_str());
        self.add_numbers(loss, names.zip(values), images);
        Ok(())
    }

    /// Adds the loss and the parts of a batch of so many images.
    pub fn add_numbers<'a>(
        &mut self,
        loss: Option<f64>,
        parts: impl Iterator<Item = (&'a str, f64)>,
        images: usize,
    ) {
        let weight = images as f64;
        self.images += images;
        self.loss += weight * loss.unwrap_or(0.0);
        for (name, value) in parts {
            let value = weight * value;
            match self.parts.iter_mut().find(|(n, _)| n == name) {
                Some((_, sum)) => *sum += value,
                None => self.parts.push((name.to_owned(), value)),
            }
        }
    }

    /// The mean loss; NaN before the first batch.
    pub fn loss(&self) -> f64 {
        self.loss / self.images as f64
    }

    pub fn parts(&self) -> Vec<(String, f64)> {
        self.parts
            .iter()
            .map(|(name, sum)| (name.clone(), sum / self.images as f64))
            .collect()
    }
}

impl Evaluation {
    /// Metrics with the split's prefix, in the report's order, behind the loss and its parts. NaN (a class without
    /// examples) is left out.
    pub fn named(&self, split: &str) -> serde_json::Map<String, Value> {
        let loss = [("loss".to_owned(), self.loss)];
        let scalars = self.report.scalars.iter().map(|s| (s.name.to_string(), s.value));
        loss.into_iter()
            .chain(self.parts.iter().cloned())
            .chain(scalars)
            .filter(|(_, value)| value.is_finite())
            .map(|(name, value)| (format!("{split}_{name}"), Value::from(value)))
            .collect()
    }

    /// What a report holds beside its numbers, for events and files: `matrices`, `tables`, `curves`, and `worst`, the records
    /// that were predicted worst, by the names that `name` gives them. What is empty is left out.
    pub fn details(&self, name: &dyn Fn(u64) -> String) -> serde_json::Map<String, Value> {
        let texts = |list: &[RString]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
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
        let there = parts.into_iter().filter(|(_, list)| !list.is_empty());
        there
            .map(|(key, list)| (key.to_owned(), Value::from(list)))
            .collect()
    }

    /// Writes `report.json`: the metrics with the split's prefix, and the report's [`Evaluation::details`].
    pub fn write_report(&self, split: &str, source: &dyn Source, folder: &std::path::Path) -> Result<()> {
        let name = |index| {
            let record = source.record(index as usize).unwrap_or_default();
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
        let path = folder.join("report.json");
        let text = serde_json::to_string_pretty(&report).map_err(|e| Error::failed(format!("JSON: {e}")))?;
        std::fs::write(&path, text + "\n")
            .map_err(|e| Error::io(cvhost::error::Kind::Failed, "write", &path, &e))
    }

    /// Writes the files that the task made of its predictions.
    pub fn write_artifacts(&self, folder: &std::path::Path) -> Result<Vec<std::path::PathBuf>> {
        let kind = cvhost::error::Kind::Failed;
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
            std::fs::create_dir_all(folder).map_err(|e| Error::io(kind, "create the folder", folder, &e))?;
            std::fs::write(&path, &artifact.bytes).map_err(|e| Error::io(kind, "write", &path, &e))?;
            written.push(path);
        }
        Ok(written)
    }
}

//! The file of all predictions, in CSV for spreadsheets and data frames.

use crate::gathered::Row;
use crate::measures::decided;
use crate::scores::{best, shortest};
use cvhost_plugin_api::data::{Artifact, LabelSpec};
use cvhost_plugin_api::{PluginError, Result};

/// `predictions.csv`: `image,label,label_id,score,true_label`; for a multi-label dataset
/// `image,labels,scores,true_labels`, with the predicted classes separated by `|`, best first, so
/// that the file can be read as annotations.
pub fn artifact(rows: &[Row<'_>], spec: &LabelSpec, multi_label: bool) -> Result<Artifact> {
    let failed = |e: csv::Error| PluginError::failed(format!("predictions.csv: {e}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header: &[&str] = if multi_label {
        &["image", "labels", "scores", "true_labels"]
    } else {
        &["image", "label", "label_id", "score", "true_label"]
    };
    writer.write_record(header).map_err(failed)?;
    let name = |label: usize| spec.name(label as i64);
    for row in rows {
        let truth = row.labels().map(name).collect::<Vec<_>>().join("|");
        let cells = if multi_label {
            let score = |label: &usize| row.scores.get(*label).copied().unwrap_or_default();
            let mut labels = decided(row, true);
            labels.sort_by(|a, b| score(b).total_cmp(&score(a)));
            let scores: Vec<String> = labels.iter().map(|l| shortest(score(l)).to_string()).collect();
            let labels: Vec<String> = labels.into_iter().map(name).collect();
            vec![row.name.to_owned(), labels.join("|"), scores.join("|"), truth]
        } else {
            let (label, score) = best(row.scores);
            let (id, score) = (label.to_string(), shortest(score).to_string());
            vec![row.name.to_owned(), name(label), id, score, truth]
        };
        writer.write_record(&cells).map_err(failed)?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|e| PluginError::failed(format!("predictions.csv: {e}")))?;
    Ok(Artifact {
        file_name: "predictions.csv".into(),
        bytes: bytes.into(),
        extra: Default::default(),
    })
}

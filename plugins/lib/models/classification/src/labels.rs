//! Whether labels are mutually exclusive, and how often each occurs.

use cvhost_plugin_api::data::LabelSpec;
use cvhost_plugin_api::error::{PluginError, Result};
use serde_json::{Map, Value};

/// `problem_type` in `config.json`.
const SINGLE: &str = "single_label_classification";
const MULTI: &str = "multi_label_classification";

/// A classifier's labels, from the data set and the checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Labels {
    /// Whether an image may have several labels, or none.
    pub multi_label: bool,
    /// In label order.
    pub names: Vec<String>,
    /// The number of labelled images in the split per class; `None` if there is no data set, or it
    /// doesn't provide the counts.
    pub counts: Option<Vec<u64>>,
}

impl Labels {
    /// `spec.extra`, a JSON object, may have `multi_label` (a boolean) and `class_counts` (one
    /// count per class). Without `multi_label`, `problem_type` of the checkpoint's `config.json`
    /// decides whether labels are exclusive; by default they are.
    ///
    /// # Errors
    /// If there are no classes, or only one with exclusive labels; if the checkpoint is for
    /// regression; if `extra` is malformed.
    pub fn new(spec: &LabelSpec, checkpoint: &Value) -> Result<Self> {
        let extra = match spec.extra.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text)
                .map_err(|e| PluginError::failed(format!("the labels' `extra` is not JSON: {e}")))?,
        };
        let multi_label = match extra.get("multi_label").filter(|v| !v.is_null()) {
            Some(value) => value.as_bool().ok_or_else(|| {
                PluginError::failed(format!(
                    "the labels' `multi_label`: expected true or false, got {value}"
                ))
            })?,
            None => is_multi_label(checkpoint)?,
        };
        let names: Vec<String> = spec.names.iter().map(ToString::to_string).collect();
        let least = if multi_label { 1 } else { 2 };
        if names.len() < least {
            return Err(PluginError::data(format!(
                "too few classes for a classifier {}: expected at least {least}, got {}",
                match multi_label {
                    true => "with several labels per image",
                    false => "with one label per image",
                },
                names.len()
            )));
        }
        let counts = match extra.get("class_counts").filter(|v| !v.is_null()) {
            Some(value) => Some(counts(value, names.len())?),
            None => None,
        };
        Ok(Labels {
            multi_label,
            names,
            counts,
        })
    }

    /// Writes `problem_type` into a `config.json`.
    pub fn write(&self, json: &mut Map<String, Value>) {
        let problem_type = if self.multi_label { MULTI } else { SINGLE };
        json.insert("problem_type".into(), problem_type.into());
    }
}

fn is_multi_label(checkpoint: &Value) -> Result<bool> {
    match checkpoint.get("problem_type").filter(|v| !v.is_null()) {
        None => Ok(false),
        Some(value) => match value.as_str() {
            Some(SINGLE) => Ok(false),
            Some(MULTI) => Ok(true),
            _ => Err(PluginError::unsupported(format!(
                "config.json: problem_type {value}: expected \"{SINGLE}\" or \"{MULTI}\""
            ))),
        },
    }
}

fn counts(value: &Value, classes: usize) -> Result<Vec<u64>> {
    let all: Option<Vec<u64>> = value
        .as_array()
        .and_then(|list| list.iter().map(Value::as_u64).collect());
    all.filter(|counts| counts.len() == classes).ok_or_else(|| {
        PluginError::failed(format!(
            "the labels' `class_counts`: expected {classes} counts, got {value}"
        ))
    })
}

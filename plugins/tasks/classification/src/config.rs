//! The configuration keys of this task.

use cvhost_plugin_api::{PluginError, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The part of the configuration that the schema describes. `num_classes` and `class_names` are
/// declared by the host for all tasks.
#[derive(JsonSchema)]
#[allow(dead_code)] // only used to generate the schema
struct Document {
    model: ModelKeys,
    data: DataKeys,
    training: TrainingKeys,
}

/// Host keys with different defaults: the host's own suit fine-tuned detectors.
#[derive(JsonSchema)]
#[allow(dead_code)] // read by the host
struct TrainingKeys {
    /// A tighter limit would clip every step of a classifier.
    #[serde(default = "one")]
    gradient_clip: f64,
    /// A classifier's head is a single layer; everything before it is the backbone.
    #[serde(default = "one")]
    backbone_lr_scale: f64,
}

#[derive(JsonSchema)]
#[allow(dead_code)] // read by the host, which passes it to `draw`
struct ModelKeys {
    /// Classes with a lower score are not drawn; metrics are not affected.
    #[schemars(range(min = 0.0, max = 1.0))]
    #[serde(default = "default_confidence_threshold")]
    confidence_threshold: f64,
}

/// Keys of section `data`.
#[derive(Debug, JsonSchema)]
pub struct DataKeys {
    /// Label format. `auto`: detected from the files and reported. `folders`: one folder per class.
    /// `csv`: a CSV or TSV file.
    #[serde(default)]
    pub format: Format,
    /// Whether an image may have several classes, or none. By default this is inferred from the
    /// annotations: several labels in one cell, or one column per class, mean multi-label.
    pub multi_label: Option<bool>,
}

/// The label format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Auto,
    Folders,
    Csv,
}

fn one() -> f64 {
    1.0
}

fn default_confidence_threshold() -> f64 {
    0.5
}

impl DataKeys {
    /// Reads the keys from the whole configuration.
    pub fn read(config: &Value) -> Result<Self> {
        let data = &config["data"];
        let format = match &data["format"] {
            Value::Null => Format::Auto,
            value => Format::deserialize(value).map_err(|_| {
                let what = format!("`data.format` is {value}; it must be `auto`, `folders` or `csv`");
                PluginError::config("data.format", what)
            })?,
        };
        let multi_label = match &data["multi_label"] {
            Value::Null => None,
            Value::Bool(b) => Some(*b),
            other => {
                let what = format!("`data.multi_label` is {other}; it must be `true` or `false`");
                return Err(PluginError::config("data.multi_label", what));
            }
        };
        Ok(DataKeys { format, multi_label })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::generate::SchemaSettings;
    use serde_json::json;
    use std::path::Path;

    #[test]
    fn the_schema_file_matches_the_types() {
        let generator = SchemaSettings::draft2020_12()
            .with(|s| s.inline_subschemas = true)
            .into_generator();
        let schema = generator.into_root_schema_for::<Document>().to_value();
        let mut properties = schema["properties"].clone();
        for section in ["model", "data", "training"] {
            properties[section] = json!({"properties": properties[section]["properties"]});
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.schema.json");
        cvhost_plugin_api::testing::schema_is_current(&file, &json!({"properties": properties}));
    }

    #[test]
    fn errors_for_invalid_values_name_the_key() {
        let error = DataKeys::read(&json!({"data": {"multi_label": "yes"}})).unwrap_err();
        assert_eq!(error.key, "data.multi_label");
        assert_eq!(DataKeys::read(&json!({})).unwrap().multi_label, None);
        let error = DataKeys::read(&json!({"data": {"format": "coco"}})).unwrap_err();
        assert_eq!(error.key, "data.format");
        assert!(error.message.contains("`auto`, `folders` or `csv`"), "{error}");
    }
}

//! The configuration keys of this task.

use crate::boxes::BoxPolicy;
use cvhost_annotations::Format;
use cvhost_plugin_api::{PluginError, Result};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The part of the configuration that the schema describes. `num_classes` and `class_names` are
/// declared by the host for all tasks.
#[derive(JsonSchema)]
#[allow(dead_code)] // only used to generate the schema
struct Document {
    model: ModelKeys,
    data: DataKeys,
}

#[derive(JsonSchema)]
#[allow(dead_code)] // read by the host, which passes them to the model and to `draw`
struct ModelKeys {
    /// Maximum number of boxes per image, best first.
    #[schemars(range(min = 1, max = 300))]
    #[serde(default = "default_max_detections")]
    max_detections: u32,
    /// Boxes with a lower score are not shown by `predict`; metrics are not affected.
    #[schemars(range(min = 0.0, max = 1.0))]
    #[serde(default = "default_confidence_threshold")]
    confidence_threshold: f64,
}

/// Keys of section `data`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct DataKeys {
    /// Annotation format. `auto`: detected from the files and reported. `coco`: COCO JSON
    /// (instances, keypoints or panoptic). `voc`: Pascal VOC XML files. `yolo`: label files with
    /// data.yaml. `csv`: one box per row.
    #[serde(default)]
    pub format: DataFormat,
    /// How invalid annotated boxes are handled. `error`: the dataset is rejected. `clip`: boxes are
    /// clipped to the image, and boxes without area are dropped. `drop`: all of them are dropped.
    /// In each case they are counted and reported.
    #[serde(default)]
    pub box_policy: BoxPolicy,
}

/// The format of the annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DataFormat {
    #[default]
    Auto,
    Coco,
    Voc,
    Yolo,
    Csv,
}

impl From<DataFormat> for Format {
    fn from(format: DataFormat) -> Self {
        match format {
            DataFormat::Auto => Format::Auto,
            DataFormat::Coco => Format::Coco,
            DataFormat::Voc => Format::Voc,
            DataFormat::Yolo => Format::Yolo,
            DataFormat::Csv => Format::Csv,
        }
    }
}

fn default_max_detections() -> u32 {
    100
}

fn default_confidence_threshold() -> f64 {
    0.5
}

impl DataKeys {
    /// Reads the keys from the whole configuration.
    pub fn read(config: &Value) -> Result<Self> {
        Ok(DataKeys {
            format: choice(config, "format", "`auto`, `coco`, `voc`, `yolo` or `csv`")?,
            box_policy: choice(config, "box_policy", "`error`, `clip` or `drop`")?,
        })
    }
}

/// Reads an enum-valued key of section `data`.
fn choice<T: DeserializeOwned + Default>(config: &Value, key: &str, choices: &str) -> Result<T> {
    let value = &config["data"][key];
    if value.is_null() {
        return Ok(T::default());
    }
    T::deserialize(value).map_err(|_| {
        let key = format!("data.{key}");
        PluginError::config(&key, format!("`{key}` is {value}; it must be {choices}"))
    })
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
        for section in ["model", "data"] {
            properties[section] = json!({"properties": properties[section]["properties"]});
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.schema.json");
        cvhost_plugin_api::testing::schema_is_current(&file, &json!({"properties": properties}));
    }

    #[test]
    fn an_error_for_an_unknown_choice_lists_the_valid_ones() {
        let error = DataKeys::read(&json!({"data": {"box_policy": "crop"}})).unwrap_err();
        assert_eq!(error.key, "data.box_policy");
        assert!(error.message.contains("`error`, `clip` or `drop`"), "{error}");
        assert_eq!(DataKeys::read(&json!({})).unwrap().box_policy, BoxPolicy::Clip);
        let error = DataKeys::read(&json!({"data": {"format": "pascal"}})).unwrap_err();
        assert_eq!(error.key, "data.format");
        assert!(error.message.contains("`voc`, `yolo` or `csv`"), "{error}");
        assert_eq!(DataKeys::read(&json!({})).unwrap().format, DataFormat::Auto);
    }
}

//! `config.json` of a YOLOS checkpoint.

use cvhost_layers::config_json::{read, saved, size};
use cvhost_plugin_api::data::LabelSpec;
use cvhost_plugin_api::error::Result;
use cvhost_vit::{Defaults, VitConfig};
use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq)]
pub struct YolosConfig {
    pub vit: VitConfig,
    pub detection_tokens: i64,
    /// Whether every layer but the last is followed by position embeddings of its own.
    pub mid_position_embeddings: bool,
}

impl YolosConfig {
    /// `json` is `config.json`; `config` is the whole resolved configuration, of which `model.dropout` is honoured. Fails
    /// where a value has the wrong type or can't be built, naming its key.
    pub fn new(json: &Value, config: &Value) -> Result<Self> {
        let defaults = Defaults {
            image_size: [512, 864],
        };
        Ok(YolosConfig {
            vit: VitConfig::new(json, config, defaults)?,
            detection_tokens: size(json, "num_detection_tokens", 100)?,
            mid_position_embeddings: read(json, "use_mid_position_embeddings", true)?,
        })
    }

    /// The length of the stored position embeddings: the class token, a patch each, a detection token each.
    pub fn positions(&self) -> i64 {
        1 + self.vit.patches() + self.detection_tokens
    }

    /// `config.json` to save: the original one with the classes of `spec` and the values that were overridden.
    pub fn to_json(&self, original: &Value, spec: &LabelSpec) -> Value {
        let mut json = saved(original, "yolos", "YolosForObjectDetection", spec);
        json.insert("hidden_dropout_prob".into(), json!(self.vit.hidden_dropout));
        Value::Object(json)
    }
}

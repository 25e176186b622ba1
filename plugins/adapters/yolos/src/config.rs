//! `config.json` of a YOLOS checkpoint.

use cvhost_layers::config_json::{read, size};
use cvhost_plugin_api::error::Result;
use cvhost_vit::{Defaults, VitConfig};
use serde_json::{Map, Value, json};

#[derive(Debug, Clone, PartialEq)]
pub struct YolosConfig {
    pub vit: VitConfig,
    pub detection_tokens: i64,
    /// Whether position embeddings are added after every layer except the last.
    pub mid_position_embeddings: bool,
}

impl YolosConfig {
    /// `json` is `config.json`; `config` is the whole resolved configuration, whose `model.dropout`
    /// overrides the checkpoint's.
    ///
    /// # Errors
    /// A value of the wrong type or out of range; the error names its key.
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

    /// The number of stored position embeddings: class token, patches, detection tokens.
    pub fn positions(&self) -> i64 {
        1 + self.vit.patches() + self.detection_tokens
    }

    /// Writes the values that the configuration overrode into the `config.json` to save.
    pub fn write(&self, json: &mut Map<String, Value>) {
        json.insert("hidden_dropout_prob".into(), json!(self.vit.hidden_dropout));
    }
}

//! The keys of `config.json` shared by all families based on a vision transformer.

use cvhost_layers::Activation;
use cvhost_layers::config_json::{
    dropout_override, height_and_width, invalid, positive, probability, read, require_three_channels, size,
};
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::torch::Init;
use serde_json::Value;

/// A family's defaults for missing keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// Height and width, in pixels.
    pub image_size: [i64; 2],
}

/// The architecture of a vision transformer.
#[derive(Debug, Clone, PartialEq)]
pub struct VitConfig {
    pub hidden_size: i64,
    pub layers: i64,
    pub heads: i64,
    pub intermediate_size: i64,
    pub activation: Activation,
    pub hidden_dropout: f64,
    pub attention_dropout: f64,
    pub initializer_range: f64,
    pub layer_norm_eps: f64,
    pub qkv_bias: bool,
    /// The side of a patch, in pixels.
    pub patch_size: i64,
    /// Rows and columns of patches for which position embeddings are stored; they are interpolated
    /// for other sizes.
    pub grid: (i64, i64),
}

impl VitConfig {
    /// `json` is `config.json`; `config` is the whole resolved configuration, of which
    /// `model.dropout` is used. Fails if a value has the wrong type or is unsupported; the error
    /// names its key.
    pub fn new(json: &Value, config: &Value, defaults: Defaults) -> Result<Self> {
        let patch_size = patch_size(json)?;
        let [height, width] = height_and_width(json, "image_size", defaults.image_size)?;
        let this = VitConfig {
            hidden_size: size(json, "hidden_size", 768)?,
            layers: size(json, "num_hidden_layers", 12)?,
            heads: size(json, "num_attention_heads", 12)?,
            intermediate_size: size(json, "intermediate_size", 3072)?,
            activation: Activation::read(json, "hidden_act", Activation::Gelu)?,
            hidden_dropout: match dropout_override(config)? {
                Some(dropout) => dropout,
                None => probability(json, "hidden_dropout_prob", 0.0)?,
            },
            attention_dropout: probability(json, "attention_probs_dropout_prob", 0.0)?,
            initializer_range: positive(json, "initializer_range", 0.02)?,
            layer_norm_eps: positive(json, "layer_norm_eps", 1e-12)?,
            qkv_bias: read(json, "qkv_bias", true)?,
            patch_size,
            grid: (height / patch_size, width / patch_size),
        };
        if this.grid.0 < 1 || this.grid.1 < 1 {
            return Err(invalid(
                "image_size",
                format!("at least one patch of {patch_size}x{patch_size} pixels"),
            ));
        }
        if this.hidden_size % this.heads != 0 {
            return Err(invalid(
                "num_attention_heads",
                format!("a divisor of hidden_size {}", this.hidden_size),
            ));
        }
        require_three_channels(json)?;
        Ok(this)
    }

    /// The initialisation of weights, tokens and positions. transformers truncates the normal
    /// distribution of some of them at 100 standard deviations, which makes no difference.
    pub fn init(&self) -> Init {
        Init::Normal {
            std: self.initializer_range,
        }
    }

    /// The number of patches with stored position embeddings.
    pub fn patches(&self) -> i64 {
        self.grid.0 * self.grid.1
    }
}

/// The side of a patch in pixels; `config.json` holds one number or two equal ones.
pub fn patch_size(json: &Value) -> Result<i64> {
    match height_and_width(json, "patch_size", [16, 16])? {
        [height, width] if height == width => Ok(height),
        other => Err(invalid("patch_size", format!("a square patch, got {other:?}"))),
    }
}

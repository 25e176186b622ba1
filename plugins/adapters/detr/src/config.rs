//! `config.json` of a DETR checkpoint, in all layouts that transformers has written.

use cvhost_layers::Activation;
use cvhost_layers::config_json::{
    dropout_override, invalid, probability, read, require_three_channels, size, whole,
};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_resnet::{Naming, ResNetConfig};
use serde_json::{Map, Value, json};

/// Prefix of the backbone's keys in error messages.
const BACKBONE: &str = "backbone_config.";

#[derive(Debug, Clone, PartialEq)]
pub struct DetrConfig {
    pub backbone: ResNetConfig,
    pub num_queries: i64,
    pub d_model: i64,
    pub encoder: StackConfig,
    pub decoder: StackConfig,
    pub dropout: f64,
    pub attention_dropout: f64,
    pub activation_dropout: f64,
    pub activation: Activation,
    pub init_std: f64,
    /// With `auxiliary_loss`, transformers' decoder passes each layer's normed output to the next
    /// layer and norms the last one twice. A checkpoint trained that way needs it in prediction
    /// too.
    pub norm_between_layers: bool,
}

/// The encoder or the decoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StackConfig {
    pub layers: i64,
    pub heads: i64,
    pub ffn_dim: i64,
}

impl DetrConfig {
    /// `json` is `config.json`; `config` is the whole resolved configuration, whose `model.dropout`
    /// overrides the checkpoint's.
    ///
    /// # Errors
    /// A value of the wrong type or out of range; the error names its key.
    pub fn new(json: &Value, config: &Value) -> Result<Self> {
        let stack = |name: &str| -> Result<StackConfig> {
            Ok(StackConfig {
                layers: whole(json, &format!("{name}_layers"), 6)?,
                heads: size(json, &format!("{name}_attention_heads"), 8)?,
                ffn_dim: size(json, &format!("{name}_ffn_dim"), 2048)?,
            })
        };
        let this = DetrConfig {
            backbone: backbone(json)?,
            num_queries: size(json, "num_queries", 100)?,
            d_model: size(json, "d_model", 256)?,
            encoder: stack("encoder")?,
            decoder: stack("decoder")?,
            dropout: match dropout_override(config)? {
                Some(dropout) => dropout,
                None => probability(json, "dropout", 0.1)?,
            },
            attention_dropout: probability(json, "attention_dropout", 0.0)?,
            activation_dropout: probability(json, "activation_dropout", 0.0)?,
            activation: Activation::read(json, "activation_function", Activation::Relu)?,
            init_std: read(json, "init_std", 0.02)?,
            norm_between_layers: read(json, "auxiliary_loss", false)?,
        };
        for (name, stack) in [("encoder", this.encoder), ("decoder", this.decoder)] {
            if this.d_model % stack.heads != 0 {
                return Err(invalid(
                    &format!("{name}_attention_heads"),
                    format!("a divisor of d_model {}", this.d_model),
                ));
            }
        }
        if this.decoder.layers == 0 {
            return Err(invalid("decoder_layers", "at least 1".into()));
        }
        // A sine and a cosine for each of the two axes.
        if this.d_model % 4 != 0 {
            return Err(invalid(
                "d_model",
                format!("a multiple of 4, got {}", this.d_model),
            ));
        }
        let positions: String = read(json, "position_embedding_type", "sine".into())?;
        if positions != "sine" {
            return Err(PluginError::unsupported(format!(
                "config.json: position_embedding_type \"{positions}\": only \"sine\" is supported"
            )));
        }
        Ok(this)
    }

    /// Writes the values that the configuration overrode into the `config.json` to save.
    pub fn write(&self, json: &mut Map<String, Value>) {
        json.insert("dropout".into(), json!(self.dropout));
        // `dilation: true` next to a timm backbone_config: transformers reads only the latter's
        // stride.
        let backbone = json.get_mut("backbone_config").and_then(Value::as_object_mut);
        if let Some(backbone) = backbone.filter(|_| self.backbone.output_stride < 32) {
            backbone.insert("output_stride".into(), json!(self.backbone.output_stride));
        }
    }
}

/// The backbone, from any of the places that describe it in the various layouts.
pub fn backbone(json: &Value) -> Result<ResNetConfig> {
    require_three_channels(json)?;
    let dilation: bool = read(json, "dilation", false)?;
    match json.get("backbone_config").filter(|v| !v.is_null()) {
        Some(own) => match read::<String>(own, "model_type", "resnet".into())?.as_str() {
            "timm_backbone" => ResNetConfig::timm(
                &read::<String>(own, "backbone", "resnet50".into())?,
                own,
                read(own, "output_stride", if dilation { 16 } else { 32 })?,
                BACKBONE,
            ),
            "resnet" if dilation => Err(PluginError::unsupported(
                "config.json: `dilation` isn't supported with a backbone_config of model_type \"resnet\"",
            )
            .with_help(
                "only timm backbones can be dilated: set backbone_config.model_type to \"timm_backbone\"",
            )),
            "resnet" => ResNetConfig::hugging_face(own, BACKBONE),
            other => Err(PluginError::unsupported(format!(
                "config.json: backbone_config.model_type \"{other}\": expected \"resnet\" or \
                 \"timm_backbone\""
            ))),
        },
        // Before transformers 4.3x, only the backbone's name was saved.
        None => {
            let arguments = json.get("backbone_kwargs").cloned().unwrap_or(Value::Null);
            let name: String = read(json, "backbone", String::new())?;
            if read(json, "use_timm_backbone", true)? {
                let name = if name.is_empty() { "resnet50" } else { &name };
                ResNetConfig::timm(
                    name,
                    &arguments,
                    read(&arguments, "output_stride", if dilation { 16 } else { 32 })?,
                    BACKBONE,
                )
            } else if name.is_empty() {
                ResNetConfig::hugging_face(&arguments, BACKBONE)
            } else {
                let mut this = ResNetConfig::timm(&name, &arguments, 32, BACKBONE)?;
                this.naming = Naming::HuggingFace;
                Ok(this)
            }
        }
    }
}

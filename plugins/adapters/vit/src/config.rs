//! The family of a checkpoint, and the differences between families.

use cvhost_image_processor::{Defaults, Size};
use cvhost_layers::config_json::{height_and_width, read};
use cvhost_plugin_api::error::{PluginError, Result};
use serde_json::Value;

/// A family, identified by `model_type` and `architectures` in `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Vit,
    /// One head on the class token; the distillation token is present but has no head.
    Deit,
    /// A head on each of the two tokens.
    DistilledDeit,
}

impl Family {
    pub fn of(json: &Value) -> Result<Self> {
        let architectures: Vec<String> = read(json, "architectures", Vec::new())?;
        let distilled = architectures
            .iter()
            .any(|a| a == "DeiTForImageClassificationWithTeacher");
        match read::<String>(json, "model_type", "vit".into())?.as_str() {
            "vit" => Ok(Self::Vit),
            "deit" if distilled => Ok(Self::DistilledDeit),
            "deit" => Ok(Self::Deit),
            other => Err(PluginError::unsupported(format!(
                "config.json: model_type \"{other}\": this adapter supports \"vit\" and \"deit\""
            ))),
        }
    }

    pub fn model_type(self) -> &'static str {
        match self {
            Self::Vit => "vit",
            Self::Deit | Self::DistilledDeit => "deit",
        }
    }

    pub fn architecture(self) -> &'static str {
        match self {
            Self::Vit => "ViTForImageClassification",
            Self::Deit => "DeiTForImageClassification",
            Self::DistilledDeit => "DeiTForImageClassificationWithTeacher",
        }
    }

    pub fn has_distillation_token(self) -> bool {
        self != Self::Vit
    }

    /// The names of the heads, that of the class token first.
    pub fn heads(self) -> &'static [&'static str] {
        match self {
            Self::Vit | Self::Deit => &["classifier"],
            Self::DistilledDeit => &["cls_classifier", "distillation_classifier"],
        }
    }

    /// Defaults of the image processor for keys missing from `preprocessor_config.json`; if the
    /// file has no size, the network's is used.
    pub fn input_defaults(self, json: &Value) -> Result<Defaults> {
        if self.has_distillation_token() {
            return Ok(Defaults::deit());
        }
        let [height, width] = height_and_width(json, "image_size", [224, 224])?.map(|side| side as u32);
        Ok(Defaults {
            size: Size::Exact { height, width },
            ..Defaults::vit()
        })
    }
}

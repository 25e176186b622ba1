//! Activation functions by their names in `config.json`.

use crate::config_json::read;
use cvhost_plugin_api::error::{PluginError, Result};
use serde_json::Value;
use tch::Tensor;

/// What stands between two layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// With the error function (Hendrycks and Gimpel 2016).
    Gelu,
    /// With tanh, an approximation.
    GeluTanh,
    Relu,
    Silu,
}

impl Activation {
    /// The activation that `key` of a `config.json` names; `missing` where it has none.
    ///
    /// # Errors
    /// A name that isn't known here, or a value that isn't text.
    pub fn read(json: &Value, key: &str, missing: Activation) -> Result<Self> {
        let name: Option<String> = read(json, key, None)?;
        match name.as_deref() {
            None => Ok(missing),
            Some("gelu") => Ok(Self::Gelu),
            Some("gelu_new" | "gelu_pytorch_tanh") => Ok(Self::GeluTanh),
            Some("relu") => Ok(Self::Relu),
            Some("silu" | "swish") => Ok(Self::Silu),
            Some(other) => Err(PluginError::unsupported(format!(
                "config.json: {key} \"{other}\": expected gelu, gelu_new, gelu_pytorch_tanh, relu or silu"
            ))),
        }
    }

    /// May overwrite `x`, so it is for what a layer has just made.
    pub fn apply(self, mut x: Tensor) -> Tensor {
        match self {
            Activation::Gelu => x.gelu("none"),
            Activation::GeluTanh => x.gelu("tanh"),
            Activation::Relu => x.relu_(),
            Activation::Silu => x.silu(),
        }
    }
}

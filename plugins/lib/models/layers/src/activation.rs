//! Activation functions, selected by their names in `config.json`.

use crate::config_json::read;
use cvhost_plugin_api::error::{PluginError, Result};
use serde_json::Value;
use tch::Tensor;

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// GELU with the error function (Hendrycks and Gimpel 2016).
    Gelu,
    /// GELU with the tanh approximation.
    GeluTanh,
    Relu,
    Silu,
}

impl Activation {
    /// The activation named by `key` of a `config.json`; `missing` if the key is absent.
    ///
    /// # Errors
    /// If the name is unknown, or the value isn't a string.
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

    /// Applies the activation. May overwrite `x`, so pass only a tensor that isn't used elsewhere.
    pub fn apply(self, mut x: Tensor) -> Tensor {
        match self {
            Activation::Gelu => x.gelu("none"),
            Activation::GeluTanh => x.gelu("tanh"),
            Activation::Relu => x.relu_(),
            Activation::Silu => x.silu(),
        }
    }
}

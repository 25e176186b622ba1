//! `config.json` of a YOLOS checkpoint.

use cvhost_plugin_api::data::LabelSpec;
use cvhost_plugin_api::error::{PluginError, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// No real checkpoint comes near; a size from a broken file must not exhaust the memory.
const LARGEST: i64 = 1 << 16;

#[derive(Debug, Clone, PartialEq)]
pub struct YolosConfig {
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
    pub detection_tokens: i64,
    /// The side of a patch, in pixels.
    pub patch_size: i64,
    /// Rows and columns of patches that the position embeddings are stored for; other sizes are interpolated.
    pub grid: (i64, i64),
    /// Whether every layer but the last is followed by position embeddings of its own.
    pub mid_position_embeddings: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// With the error function.
    Gelu,
    /// With tanh, an approximation.
    GeluTanh,
    Relu,
    Silu,
}

impl YolosConfig {
    /// `json` is `config.json`; `config` is the whole resolved configuration, of which `model.dropout` is honoured. Fails
    /// where a value has the wrong type or can't be built, naming its key.
    pub fn new(json: &Value, config: &Value) -> Result<Self> {
        let hidden_dropout = match config.pointer("/model/dropout").filter(|v| !v.is_null()) {
            Some(value) => value.as_f64().filter(|p| (0.0..1.0).contains(p)).ok_or_else(|| {
                let message = format!("expected a number from 0 to below 1, got {value}");
                PluginError::config("model.dropout", message)
            })?,
            None => probability(json, "hidden_dropout_prob")?,
        };
        let patch_size = patch_size(json)?;
        let [height, width] = image_size(json)?;
        let this = YolosConfig {
            hidden_size: size(json, "hidden_size", 768)?,
            layers: size(json, "num_hidden_layers", 12)?,
            heads: size(json, "num_attention_heads", 12)?,
            intermediate_size: size(json, "intermediate_size", 3072)?,
            activation: Activation::read(json)?,
            hidden_dropout,
            attention_dropout: probability(json, "attention_probs_dropout_prob")?,
            initializer_range: positive(json, "initializer_range", 0.02)?,
            layer_norm_eps: positive(json, "layer_norm_eps", 1e-12)?,
            qkv_bias: read(json, "qkv_bias", true)?,
            detection_tokens: size(json, "num_detection_tokens", 100)?,
            patch_size,
            grid: (height / patch_size, width / patch_size),
            mid_position_embeddings: read(json, "use_mid_position_embeddings", true)?,
        };
        if this.grid.0 < 1 || this.grid.1 < 1 {
            return Err(invalid(
                "image_size",
                format!("at least one patch of {patch_size} pixels a side"),
            ));
        }
        if this.hidden_size % this.heads != 0 {
            return Err(invalid(
                "num_attention_heads",
                format!("a divisor of hidden_size {}", this.hidden_size),
            ));
        }
        let channels: i64 = read(json, "num_channels", 3)?;
        if channels != 3 {
            let message = format!("config.json: num_channels {channels}: pictures come with 3 channels");
            return Err(PluginError::unsupported(message));
        }
        Ok(this)
    }

    /// The length of the stored position embeddings: the class token, a patch each, a detection token each.
    pub fn positions(&self) -> i64 {
        1 + self.grid.0 * self.grid.1 + self.detection_tokens
    }

    /// `config.json` to save: the original one with the classes of `spec` and the values that were overridden.
    pub fn to_json(&self, original: &Value, spec: &LabelSpec) -> Value {
        let mut json = original.as_object().cloned().unwrap_or_default();
        let names = || spec.names.iter().enumerate();
        let id2label: Map<String, Value> = names()
            .map(|(id, name)| (id.to_string(), json!(name.as_str())))
            .collect();
        let label2id: Map<String, Value> = names().map(|(id, name)| (name.to_string(), json!(id))).collect();
        json.insert("id2label".into(), id2label.into());
        json.insert("label2id".into(), label2id.into());
        // The number of classes follows from the names.
        json.remove("num_labels");
        json.insert("architectures".into(), json!(["YolosForObjectDetection"]));
        json.insert("model_type".into(), json!("yolos"));
        json.insert("hidden_dropout_prob".into(), json!(self.hidden_dropout));
        // The weights are saved in float32, whatever they were read in.
        for key in ["dtype", "torch_dtype"] {
            if let Some(value) = json.get_mut(key) {
                *value = json!("float32");
            }
        }
        Value::Object(json)
    }
}

impl Activation {
    fn read(json: &Value) -> Result<Self> {
        match read::<String>(json, "hidden_act", "gelu".into())?.as_str() {
            "gelu" => Ok(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Self::GeluTanh),
            "relu" => Ok(Self::Relu),
            "silu" | "swish" => Ok(Self::Silu),
            other => Err(PluginError::unsupported(format!(
                "config.json: hidden_act \"{other}\": expected gelu, gelu_new, gelu_pytorch_tanh, relu or silu"
            ))),
        }
    }
}

/// `[height, width]` in pixels, or one number for both.
fn image_size(json: &Value) -> Result<[i64; 2]> {
    let sides = match json.get("image_size") {
        None | Some(Value::Null) => [512, 864],
        Some(Value::Number(_)) => [size(json, "image_size", 512)?; 2],
        Some(_) => read(json, "image_size", [512, 864])?,
    };
    match sides.iter().all(|s| (1..=LARGEST).contains(s)) {
        true => Ok(sides),
        false => Err(invalid("image_size", format!("sides from 1 to {LARGEST}"))),
    }
}

/// One number, or two equal ones.
fn patch_size(json: &Value) -> Result<i64> {
    match json.get("patch_size") {
        Some(Value::Array(_)) => match read::<[i64; 2]>(json, "patch_size", [16, 16])? {
            [height, width] if height == width && (1..=LARGEST).contains(&height) => Ok(height),
            _ => Err(invalid("patch_size", "a square patch".into())),
        },
        _ => size(json, "patch_size", 16),
    }
}

fn read<T: DeserializeOwned>(json: &Value, key: &str, missing: T) -> Result<T> {
    match json.get(key).filter(|v| !v.is_null()) {
        None => Ok(missing),
        Some(value) => {
            T::deserialize(value).map_err(|e| PluginError::checkpoint(format!("config.json: `{key}`: {e}")))
        }
    }
}

fn size(json: &Value, key: &str, missing: i64) -> Result<i64> {
    let value = read(json, key, missing)?;
    if (1..=LARGEST).contains(&value) {
        Ok(value)
    } else {
        Err(invalid(key, format!("1 to {LARGEST}, got {value}")))
    }
}

fn probability(json: &Value, key: &str) -> Result<f64> {
    let value = read(json, key, 0.0)?;
    if (0.0..1.0).contains(&value) {
        Ok(value)
    } else {
        Err(invalid(key, format!("0 to below 1, got {value}")))
    }
}

fn positive(json: &Value, key: &str, missing: f64) -> Result<f64> {
    let value = read(json, key, missing)?;
    if value > 0.0 {
        Ok(value)
    } else {
        Err(invalid(key, format!("a number above 0, got {value}")))
    }
}

fn invalid(key: &str, expected: String) -> PluginError {
    PluginError::checkpoint(format!("config.json: `{key}`: expected {expected}"))
}

//! Validated access to values of `config.json`, and the content of the one to save. Errors name the
//! key.

use cvhost_plugin_api::data::LabelSpec;
use cvhost_plugin_api::error::{PluginError, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Upper limit of sizes. Real checkpoints are far below it; it prevents a broken file from
/// exhausting memory.
pub const LARGEST: i64 = 1 << 16;

/// The value of `key`, or `missing` if it is absent or null.
pub fn read<T: DeserializeOwned>(json: &Value, key: &str, missing: T) -> Result<T> {
    match json.get(key).filter(|v| !v.is_null()) {
        None => Ok(missing),
        Some(value) => {
            T::deserialize(value).map_err(|e| PluginError::checkpoint(format!("config.json: `{key}`: {e}")))
        }
    }
}

/// A count, which may be 0.
pub fn whole(json: &Value, key: &str, missing: i64) -> Result<i64> {
    within(json, key, missing, 0)
}

/// A size or a count of at least 1.
pub fn size(json: &Value, key: &str, missing: i64) -> Result<i64> {
    within(json, key, missing, 1)
}

fn within(json: &Value, key: &str, missing: i64, least: i64) -> Result<i64> {
    let value = read(json, key, missing)?;
    if (least..=LARGEST).contains(&value) {
        Ok(value)
    } else {
        Err(invalid(key, format!("{least} to {LARGEST}, got {value}")))
    }
}

/// A dropout probability.
pub fn probability(json: &Value, key: &str, missing: f64) -> Result<f64> {
    let value = read(json, key, missing)?;
    if (0.0..1.0).contains(&value) {
        Ok(value)
    } else {
        Err(invalid(key, format!("0 to below 1, got {value}")))
    }
}

pub fn positive(json: &Value, key: &str, missing: f64) -> Result<f64> {
    let value = read(json, key, missing)?;
    if value > 0.0 {
        Ok(value)
    } else {
        Err(invalid(key, format!("a number above 0, got {value}")))
    }
}

/// `[height, width]` in pixels; the file may hold one number for both.
pub fn height_and_width(json: &Value, key: &str, missing: [i64; 2]) -> Result<[i64; 2]> {
    let sides = match json.get(key) {
        Some(Value::Number(_)) => [size(json, key, 1)?; 2],
        _ => read(json, key, missing)?,
    };
    match sides.iter().all(|s| (1..=LARGEST).contains(s)) {
        true => Ok(sides),
        false => Err(invalid(key, format!("sides from 1 to {LARGEST}, got {sides:?}"))),
    }
}

/// Rejects checkpoints for images with other than 3 channels.
pub fn require_three_channels(json: &Value) -> Result<()> {
    match read(json, "num_channels", 3)? {
        3 => Ok(()),
        channels => Err(PluginError::unsupported(format!(
            "config.json: num_channels {channels}: images have 3 channels"
        ))),
    }
}

/// `model.dropout` of the whole resolved configuration, if set by the user.
pub fn dropout_override(config: &Value) -> Result<Option<f64>> {
    let Some(value) = config.pointer("/model/dropout").filter(|v| !v.is_null()) else {
        return Ok(None);
    };
    match value.as_f64().filter(|p| (0.0..1.0).contains(p)) {
        Some(dropout) => Ok(Some(dropout)),
        None => Err(PluginError::config(
            "model.dropout",
            format!("expected a number from 0 to below 1, got {value}"),
        )),
    }
}

/// The error for an invalid value of `key`.
pub fn invalid(key: &str, expected: String) -> PluginError {
    PluginError::checkpoint(format!("config.json: `{key}`: expected {expected}"))
}

/// The `config.json` to save: the original with the given `model_type` and architecture, the
/// classes of `spec`, and float32 as the dtype of the weights.
pub fn saved(original: &Value, model_type: &str, architecture: &str, spec: &LabelSpec) -> Map<String, Value> {
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
    json.insert("architectures".into(), json!([architecture]));
    json.insert("model_type".into(), json!(model_type));
    // The weights are saved in float32, regardless of the dtype they were read in.
    for key in ["dtype", "torch_dtype"] {
        if let Some(value) = json.get_mut(key) {
            *value = json!("float32");
        }
    }
    json
}

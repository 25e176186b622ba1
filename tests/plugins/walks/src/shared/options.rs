//! Configuration keys and options that all walks handle the same way.

use cvhost_plugin_api::data::{NamedTensor, OpenArgs};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::serde_json::Value;
use cvhost_plugin_api::torch::tch::Tensor;

/// Number of images in a split: `data.pictures` for training, a quarter of it for the other splits.
pub fn images(args: &OpenArgs) -> usize {
    let count = args.config["data"]["pictures"].as_u64().unwrap_or(64) as usize;
    if args.split == "train" {
        count
    } else {
        count.div_ceil(4)
    }
}

/// Rejects host keys that an adapter doesn't use, so that none is silently ignored.
pub fn refuse(config: &Value, keys: &[&str], why: &str) -> Result<()> {
    for key in keys {
        let (section, name) = key.split_once('.').unwrap_or(("", key));
        if !config[section][name].is_null() {
            return Err(
                PluginError::config(*key, format!("`{key}` can't be set: {why}")).with_help("leave it out")
            );
        }
    }
    Ok(())
}

/// The normalisation keys, which no walk supports: the networks are trained from scratch on a fixed
/// colour scale.
pub const COLOUR_SCALE: [&str; 2] = ["data.normalize_mean", "data.normalize_std"];

/// The score threshold; 0 if none is given.
pub fn threshold(options: &Value) -> f64 {
    options["threshold"].as_f64().unwrap_or(0.0)
}

/// A raw output by name.
pub fn output(outputs: &[NamedTensor], name: &str) -> Result<Tensor> {
    let found = outputs.iter().find(|o| o.name == name);
    found
        .map(|o| o.tensor.tensor())
        .ok_or_else(|| PluginError::failed(format!("the model returned no `{name}`")))
}

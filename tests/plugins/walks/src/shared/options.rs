//! Configuration keys and options that the walks read alike.

use cvhost_plugin_api::data::{NamedTensor, OpenArgs};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::serde_json::Value;
use cvhost_plugin_api::torch::tch::Tensor;

/// How many images a split has: `data.images` for training, a quarter of it for the others.
pub fn images(args: &OpenArgs) -> usize {
    let count = args.config["data"]["pictures"].as_u64().unwrap_or(64) as usize;
    if args.split == "train" {
        count
    } else {
        count.div_ceil(4)
    }
}

/// Refuses keys of the host that an adapter has no use for, so that none is read over in silence.
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

/// The keys about pixels that no walk's network has: they are trained from scratch, on one scale of colours.
pub const COLOUR_SCALE: [&str; 2] = ["data.normalize_mean", "data.normalize_std"];

/// The least score that is wanted; 0 where none is named.
pub fn threshold(options: &Value) -> f64 {
    options["threshold"].as_f64().unwrap_or(0.0)
}

/// A raw output by name.
pub fn output(outputs: &[NamedTensor], name: &str) -> Result<Tensor> {
    let found = outputs.iter().find(|o| o.name == name);
    found
        .map(|o| o.tensor.tensor())
        .ok_or_else(|| PluginError::failed(format!("the model gave no `{name}`")))
}

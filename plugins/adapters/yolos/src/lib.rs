//! Adapter for YOLOS (Fang et al. 2021, "You Only Look at One Sequence"): a plain vision transformer that gets detection
//! tokens along with the image's patches, and a loss over the best one-to-one matching of tokens and targets.
//!
//! Read `vit` first, then `model`, which puts heads and loss on it. `cvhost_set_prediction::same_size` says how images of
//! different sizes share a batch.

mod config;
mod input;
mod model;
#[cfg(test)]
mod tests;
mod vit;

use cvhost_plugin_api::data::LabelSpec;
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::export_plugin;
use cvhost_plugin_api::sdk::{Adapter, Checkpoint, Input, Model};
use serde_json::Value;

struct YolosAdapter;

impl Adapter for YolosAdapter {
    fn input(&self, checkpoint: &Checkpoint, config: &Value, _spec: &LabelSpec) -> Result<Box<dyn Input>> {
        Ok(Box::new(input::YolosInput::new(checkpoint, config)?))
    }

    fn model(&self, checkpoint: &Checkpoint, config: &Value, spec: &LabelSpec) -> Result<Box<dyn Model>> {
        Ok(Box::new(model::Yolos::new(checkpoint, config, spec)?))
    }
}

export_plugin! {
    torch: true,
    schema: "../config.schema.json",
    tasks: {},
    adapters: { "yolos" => YolosAdapter, serves [("detection/1", "yolos")] },
    loggers: {},
}

//! Adapter for DETR (Carion et al. 2020, "End-to-End Object Detection with Transformers"): a ResNet, a transformer that turns
//! object queries into boxes, and a loss over the best one-to-one matching of queries and targets.
//!
//! Read in the paper's order: `cvhost_resnet`, `position`, `transformer`, then `model`, which puts them together.

mod config;
mod input;
mod model;
mod position;
#[cfg(test)]
mod tests;
mod transformer;

use cvhost_plugin_api::data::LabelSpec;
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::export_plugin;
use cvhost_plugin_api::sdk::{Adapter, Checkpoint, Input, Model};
use serde_json::Value;

struct DetrAdapter;

impl Adapter for DetrAdapter {
    fn input(&self, checkpoint: &Checkpoint, config: &Value, _spec: &LabelSpec) -> Result<Box<dyn Input>> {
        Ok(Box::new(input::DetrInput::new(checkpoint, config)?))
    }

    fn model(&self, checkpoint: &Checkpoint, config: &Value, spec: &LabelSpec) -> Result<Box<dyn Model>> {
        Ok(Box::new(model::Detr::new(checkpoint, config, spec)?))
    }
}

export_plugin! {
    torch: true,
    schema: "../config.schema.json",
    tasks: {},
    adapters: { "detr" => DetrAdapter, serves [("detection/1", "detr")] },
    loggers: {},
}

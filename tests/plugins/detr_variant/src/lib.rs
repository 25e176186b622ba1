//! Adapter `detr-variant`: the installed adapter `detr` with another rule for the input's size and another filter of the output.
//! Network, loss, matching and checkpoint names are the other adapter's, whichever version of it is installed.

mod filter;
mod input;
mod model;

use cvhost_plugin_api::data::LabelSpec;
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::sdk::{self, Adapter, Checkpoint, Input, Model};
use cvhost_plugin_api::serde_json::Value;

/// The adapter that this one builds on.
const BASE: &str = "detr";

struct Variant;

impl Adapter for Variant {
    fn input(&self, checkpoint: &Checkpoint, config: &Value, spec: &LabelSpec) -> Result<Box<dyn Input>> {
        let base = sdk::adapter(BASE)?.input(checkpoint, config, spec)?;
        Ok(Box::new(input::RoundedSides::new(base, checkpoint, config)?))
    }

    fn model(&self, checkpoint: &Checkpoint, config: &Value, spec: &LabelSpec) -> Result<Box<dyn Model>> {
        let base = sdk::adapter(BASE)?.model(checkpoint, config, spec)?;
        Ok(Box::new(model::Filtered::new(base, config)))
    }
}

cvhost_plugin_api::export_plugin! {
    torch: false,
    schema: "../config.schema.json",
    tasks: {},
    adapters: { "detr-variant" => Variant, serves [("detection/1", "detr")] },
    loggers: {},
}

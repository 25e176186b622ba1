//! Adapter `detr-variant`: the installed adapter `detr` with a different rule for the input size
//! and a different output filter. Network, loss, matching and checkpoint names are those of `detr`,
//! whichever version of it is installed.

mod filter;
mod input;
mod model;

use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::sdk::{self, Adapter, AdapterArgs, Input, Model};

/// The base adapter.
const BASE: &str = "detr";

struct Variant;

impl Adapter for Variant {
    fn input(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Input>> {
        let base = sdk::adapter(BASE)?.input(args)?;
        Ok(Box::new(input::RoundedSides::new(
            base,
            args.checkpoint,
            args.config,
        )?))
    }

    fn model(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Model>> {
        let base = sdk::adapter(BASE)?.model(args)?;
        Ok(Box::new(model::Filtered::new(base, args.config)))
    }
}

cvhost_plugin_api::export_plugin! {
    schema: "../config.schema.json",
    adapters: { "detr-variant" => |_| Ok(Variant), serves [(cvhost_plugin_api::forms::detection::FORM, "detr")] },
}

//! Adapter `wrapper`: passes everything on to another adapter. Hosts and adapters of later versions
//! are connected through it.

use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::sdk::{self, Adapter, AdapterArgs, Input, Model};

pub struct Wrapper;

impl Adapter for Wrapper {
    fn input(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Input>> {
        sdk::adapter("columns")?.input(args)
    }

    fn model(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Model>> {
        sdk::adapter("columns")?.model(args)
    }
}

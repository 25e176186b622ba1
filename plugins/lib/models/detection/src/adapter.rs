//! The plugin interface's adapter of a detection family.

use crate::detector::Detector;
use crate::family::Family;
use crate::input::DetectorInput;
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::sdk::{Adapter, AdapterArgs, Input, Model};
use std::marker::PhantomData;

/// The adapter of the family `F`, for `export_plugin!`.
pub struct DetectorAdapter<F>(PhantomData<fn() -> F>);

impl<F: Family> DetectorAdapter<F> {
    pub const fn new() -> Self {
        DetectorAdapter(PhantomData)
    }
}

impl<F: Family> Default for DetectorAdapter<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Family> Adapter for DetectorAdapter<F> {
    fn input(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Input>> {
        let checkpoint = args.checkpoint;
        let config = args.config;
        Ok(Box::new(DetectorInput::new::<F>(checkpoint, config)?))
    }

    fn model(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Model>> {
        let checkpoint = args.checkpoint;
        let config = args.config;
        let spec = args.spec;
        Ok(Box::new(Detector::new::<F>(checkpoint, config, spec)?))
    }
}

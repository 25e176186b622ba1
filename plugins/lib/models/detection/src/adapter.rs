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
        Ok(Box::new(DetectorInput::new::<F>(args.checkpoint, args.config)?))
    }

    fn model(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Model>> {
        Ok(Box::new(Detector::new::<F>(
            args.checkpoint,
            args.config,
            args.spec,
        )?))
    }
}

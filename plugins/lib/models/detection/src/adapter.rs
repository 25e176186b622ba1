//! The plugin interface's adapter of a detection family.

use crate::detector::Detector;
use crate::family::Family;
use crate::input::DetectorInput;
use cvhost_plugin_api::data::LabelSpec;
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::sdk::{Adapter, Checkpoint, Input, Model};
use serde_json::Value;
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
    fn input(&self, checkpoint: &Checkpoint, config: &Value, _: &LabelSpec) -> Result<Box<dyn Input>> {
        Ok(Box::new(DetectorInput::new::<F>(checkpoint, config)?))
    }

    fn model(&self, checkpoint: &Checkpoint, config: &Value, spec: &LabelSpec) -> Result<Box<dyn Model>> {
        Ok(Box::new(Detector::new::<F>(checkpoint, config, spec)?))
    }
}

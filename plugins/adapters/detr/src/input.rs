//! From sample to model input.

use crate::config;
use cvhost_image_processor::{Defaults, Processor};
use cvhost_plugin_api::data::{ArrayMut, CollateRule, Prepared, Sample, Shape};
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::sdk::{Checkpoint, Input};
use serde_json::Value;

/// What DETR's image processor does where `preprocessor_config.json` doesn't say.
const DEFAULTS: Defaults = Defaults::shortest_edge("DetrImageProcessor");

/// Name of the padding's mask in a batch.
pub const PIXEL_MASK: &str = "pixel_mask";

pub struct DetrInput {
    processor: Processor,
    /// The backbone's; 0 where `config.json` can't be read, which is the network's to say.
    stride: u64,
}

impl DetrInput {
    pub fn new(checkpoint: &Checkpoint, config: &Value) -> Result<Self> {
        let processor = Processor::from_checkpoint(&checkpoint.preprocessor, config, &DEFAULTS)?;
        let stride = config::backbone(&checkpoint.config).map_or(0, |b| b.stride());
        Ok(DetrInput {
            processor,
            stride: u64::try_from(stride).unwrap_or(0),
        })
    }
}

impl Input for DetrInput {
    fn shape(&self, width: u32, height: u32, _train: bool) -> Result<Shape> {
        self.processor.shape(width, height)
    }

    fn prepare(&self, sample: &Sample, out: ArrayMut<'_>) -> Result<Prepared> {
        self.processor.prepare_detection(sample, out)
    }

    fn collate(&self) -> Vec<CollateRule> {
        self.processor.detection_collate(PIXEL_MASK)
    }

    fn config_json(&self) -> Result<Value> {
        Ok(self.processor.config_json())
    }

    fn stride(&self) -> u64 {
        self.stride
    }
}

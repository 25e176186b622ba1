//! The input side: images and labels as YOLOS takes them.

use cvhost_image_processor::{Defaults, Processor};
use cvhost_plugin_api::data::{ArrayMut, CollateRule, Prepared, Sample, Shape};
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::sdk::{Checkpoint, Input};
use serde_json::Value;

pub struct YolosInput {
    processor: Processor,
    /// The patches' side; 0 where `config.json` can't be read, which is the network's to say.
    stride: u64,
}

impl YolosInput {
    pub fn new(checkpoint: &Checkpoint, config: &Value) -> Result<Self> {
        // Prompts are whole numbers of patches.
        let defaults = Defaults {
            multiple: 16,
            ..Defaults::shortest_edge("YolosImageProcessor")
        };
        Ok(YolosInput {
            processor: Processor::from_checkpoint(&checkpoint.preprocessor, config, &defaults)?,
            stride: cvhost_vit::patch_size(&checkpoint.config).map_or(0, i64::unsigned_abs),
        })
    }
}

impl Input for YolosInput {
    fn shape(&self, width: u32, height: u32, _train: bool) -> Result<Shape> {
        self.processor.shape(width, height)
    }

    fn prepare(&self, sample: &Sample, out: ArrayMut<'_>) -> Result<Prepared> {
        self.processor.prepare_detection(sample, out)
    }

    fn collate(&self) -> Vec<CollateRule> {
        // No mask: the model cuts padding off, see `same_size`.
        self.processor.detection_collate("")
    }

    fn config_json(&self) -> Result<Value> {
        Ok(self.processor.config_json())
    }

    fn stride(&self) -> u64 {
        self.stride
    }
}

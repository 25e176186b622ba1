//! Inputs of the size given by `preprocessor_config.json`, with both sides rounded.

use cvhost_image_processor::{Defaults, Processor, input_shape};
use cvhost_plugin_api::data::{ArrayMut, CollateRule, Prepared, Shape};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::sdk::{Checkpoint, Input, PrepareArgs, ShapeArgs};
use cvhost_plugin_api::serde_json::Value;

/// Both sides of the input are multiples of this, in pixels: the stride of DETR's backbone, so that
/// no feature extends beyond the edge.
const MULTIPLE: u32 = 32;

pub struct RoundedSides {
    base: Box<dyn Input>,
    processor: Processor,
}

impl RoundedSides {
    pub fn new(base: Box<dyn Input>, checkpoint: &Checkpoint, config: &Value) -> Result<Self> {
        let defaults = Defaults::shortest_edge("DetrImageProcessor");
        let processor = Processor::from_checkpoint(&checkpoint.preprocessor, config, &defaults)?;
        Ok(RoundedSides { base, processor })
    }

    /// Input width and height for an image of `width` × `height` pixels.
    fn size(&self, width: u32, height: u32) -> Result<(u32, u32)> {
        let (width, height) = self.processor.target_size(width, height)?;
        Ok((rounded(width), rounded(height)))
    }
}

/// The nearest multiple of [`MULTIPLE`] that isn't 0; ties round up.
fn rounded(side: u32) -> u32 {
    ((side + MULTIPLE / 2) / MULTIPLE * MULTIPLE).max(MULTIPLE)
}

impl Input for RoundedSides {
    fn shape(&self, args: &ShapeArgs) -> Result<Shape> {
        Ok(input_shape(self.size(args.width, args.height)?))
    }

    fn prepare(&self, args: &PrepareArgs<'_>, out: ArrayMut<'_>) -> Result<Prepared> {
        let image = args
            .sample
            .images
            .first()
            .ok_or_else(|| PluginError::data(format!("{} has no image", args.sample.name)))?;
        let size = self.size(image.width, image.height)?;
        self.processor.prepare_detection_sized(args.sample, size, out)
    }

    fn collate(&self) -> Vec<CollateRule> {
        self.base.collate()
    }

    fn config_json(&self) -> Result<Value> {
        self.base.config_json()
    }

    fn stride(&self) -> u64 {
        self.base.stride()
    }
}

//! The input side of a detector.

use crate::family::Family;
use crate::forms::{BOXES, CLASS_LABELS, PIXEL_MASK};
use crate::network::Padding;
use cvhost_image_processor::Processor;
use cvhost_plugin_api::data::{ArrayMut, CollateRule, Prepared, Shape};
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::sdk::{Checkpoint, Input, PrepareArgs, ShapeArgs};
use serde_json::Value;

/// Images processed as `preprocessor_config.json` describes, with boxes and class labels.
pub struct DetectorInput {
    processor: Processor,
    padding: Padding,
    /// See [`Input::stride`]; 0 if `config.json` can't be read, which the network reports.
    stride: u64,
}

impl DetectorInput {
    /// `config` is the whole resolved configuration, see [`Processor::from_checkpoint`].
    ///
    /// # Errors
    /// A value in `preprocessor_config.json` or `config` of the wrong type or out of range.
    pub fn new<F: Family>(checkpoint: &Checkpoint, config: &Value) -> Result<Self> {
        let stride = F::stride(&checkpoint.config).unwrap_or(0);
        Ok(DetectorInput {
            processor: Processor::from_checkpoint(&checkpoint.preprocessor, config, &F::PROCESSOR)?,
            padding: F::PADDING,
            stride: u64::try_from(stride).unwrap_or(0),
        })
    }
}

impl Input for DetectorInput {
    fn shape(&self, args: &ShapeArgs) -> Result<Shape> {
        self.processor.shape(args.width, args.height)
    }

    fn prepare(&self, args: &PrepareArgs<'_>, out: ArrayMut<'_>) -> Result<Prepared> {
        self.processor.prepare_detection(args.sample, out)
    }

    fn collate(&self) -> Vec<CollateRule> {
        let mask = match self.padding {
            Padding::Masked => PIXEL_MASK,
            Padding::Removed => "",
        };
        vec![
            self.processor.image_collate(mask),
            CollateRule::ragged(BOXES),
            CollateRule::ragged(CLASS_LABELS),
        ]
    }

    fn config_json(&self) -> Result<Value> {
        Ok(self.processor.config_json())
    }

    fn stride(&self) -> u64 {
        self.stride
    }
}

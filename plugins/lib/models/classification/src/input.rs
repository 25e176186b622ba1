//! Converts samples to model inputs.

use crate::CLASS_DISTRIBUTION;
use cvhost_image_processor::{Defaults, PIXEL_VALUES, Processor};
use cvhost_plugin_api::data::{ArrayMut, CollateRule, Fields, LabelSpec, Prepared, Role, Sample, Shape};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::sdk::{Checkpoint, Input, PrepareArgs, ShapeArgs};
use serde_json::Value;

/// The input side of a classifier: images as described by `preprocessor_config.json`, and the class
/// distribution.
pub struct ClassifierInput {
    processor: Processor,
    classes: usize,
    stride: u64,
}

impl ClassifierInput {
    /// `defaults` are the family's; `config` is the whole resolved configuration, see
    /// [`Processor::from_checkpoint`].
    pub fn new(
        checkpoint: &Checkpoint,
        config: &Value,
        spec: &LabelSpec,
        defaults: &Defaults,
    ) -> Result<Self> {
        Ok(ClassifierInput {
            processor: Processor::from_checkpoint(&checkpoint.preprocessor, config, defaults)?,
            classes: spec.names.len(),
            stride: 0,
        })
    }

    /// Sets the network's [`Input::stride`].
    #[must_use]
    pub fn with_stride(mut self, stride: i64) -> Self {
        self.stride = u64::try_from(stride).unwrap_or(0);
        self
    }

    fn labels(&self, sample: &Sample) -> Result<Fields> {
        let Some(distribution) = sample.fields.get(CLASS_DISTRIBUTION) else {
            return Ok(Fields::new());
        };
        let values = distribution.values::<f32>()?;
        if values.len() != self.classes {
            return Err(PluginError::failed(format!(
                "`{CLASS_DISTRIBUTION}` has {} values; expected one for each of the {} classes",
                values.len(),
                self.classes
            )));
        }
        Ok(Fields::new().with(CLASS_DISTRIBUTION, Role::DISTRIBUTION, distribution.clone()))
    }
}

impl Input for ClassifierInput {
    fn shape(&self, args: &ShapeArgs) -> Result<Shape> {
        self.processor.shape(args.width, args.height)
    }

    fn prepare(&self, args: &PrepareArgs<'_>, out: ArrayMut<'_>) -> Result<Prepared> {
        let meta = self.processor.prepare_image(args.sample, out)?;
        let fields = self.labels(args.sample)?;
        Ok(Prepared {
            fields,
            meta,
            extra: Default::default(),
        })
    }

    fn collate(&self) -> Vec<CollateRule> {
        vec![
            CollateRule::stack(PIXEL_VALUES),
            CollateRule::stack(CLASS_DISTRIBUTION),
        ]
    }

    fn config_json(&self) -> Result<Value> {
        Ok(self.processor.config_json())
    }

    fn stride(&self) -> u64 {
        self.stride
    }
}

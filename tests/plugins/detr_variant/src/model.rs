//! The base adapter's network, with filtered predictions.

use crate::filter::Filter;
use cvhost_plugin_api::data::{Batch, Fields, Output, Parameter, StepContext};
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::sdk::{Event, FinishArgs, Model};
use cvhost_plugin_api::serde_json::Value;

pub struct Filtered {
    base: Box<dyn Model>,
    /// Set by `model.min_box_size`, in pixels of the image.
    min_box_size: f64,
}

impl Filtered {
    pub fn new(base: Box<dyn Model>, config: &Value) -> Self {
        // The host has checked its type and filled in the schema's default.
        let min_box_size = config["model"]["min_box_size"].as_f64().unwrap_or(0.0);
        Filtered { base, min_box_size }
    }
}

impl Model for Filtered {
    fn finish(&mut self, args: &FinishArgs<'_>) -> Result<Vec<Fields>> {
        let options = &args.options;
        let filter = Filter {
            min_box_size: self.min_box_size,
            iou_threshold: options["iou_threshold"].as_f64(),
            max_detections: options["max_detections"].as_u64(),
        };
        // The limit applies to what remains after filtering.
        let mut options = options.clone();
        if let Some(options) = options.as_object_mut() {
            options.remove("max_detections");
        }
        let all = self.base.finish(&args.with_options(options))?;
        all.iter().map(|predictions| filter.apply(predictions)).collect()
    }

    fn parameters(&self) -> Result<Vec<Parameter>> {
        self.base.parameters()
    }

    fn initialise(&mut self, names: &[&str]) -> Result<()> {
        self.base.initialise(names)
    }

    fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        self.base.normalisers(batch)
    }

    fn forward(&mut self, batch: &Batch, context: &StepContext<'_>) -> Result<Output> {
        self.base.forward(batch, context)
    }

    fn on_event(&mut self, event: &Event) -> Result<()> {
        self.base.on_event(event)
    }

    fn config_json(&self) -> Result<Value> {
        self.base.config_json()
    }
}

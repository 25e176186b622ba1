//! Task `detection`: axis-aligned boxes with classes, from COCO, Pascal VOC, YOLO or CSV files, evaluated the COCO way.
//!
//! Its form is `detection/1`. Targets: `boxes` (`[N, 4]` f64, xyxy in pixels of the image), `class_labels` (`[N]` i64),
//! `area` (`[N]` f64, square pixels) and `iscrowd` (`[N]` u8). Predictions: `boxes` (`[Q, 4]` f32 or f64, xyxy in original
//! pixels), `class_labels` (`[Q]` i64) and `scores` (`[Q]` f32). Two more fields of a target go past the model, straight to
//! the evaluator: `image_id` (`[1]` i64) and `ground_truth`, described in `dataset.rs`.

mod boxes;
mod checks;
mod config;
mod dataset;
mod draw;
mod evaluate;
mod images;
mod json;
mod labels;
mod predictions;
mod repair;
mod state;
#[cfg(test)]
mod testing;

use cvhost_plugin_api::Result;
use cvhost_plugin_api::data::{Fields, Image, LabelSpec, MetricInfo, OpenArgs, Repair};
use cvhost_plugin_api::sdk::{DataSet, Evaluator, Task};
use serde_json::Value;

/// The versioned form of targets and predictions.
const FORM: &str = "detection/1";

struct Detection;

impl Task for Detection {
    fn form(&self) -> &str {
        FORM
    }

    fn metrics(&self) -> Vec<MetricInfo> {
        evaluate::metrics()
    }

    fn open(&self, args: &OpenArgs) -> Result<Box<dyn DataSet>> {
        Ok(Box::new(dataset::DetectionDataSet::open(args)?))
    }

    fn repair(&self, args: &OpenArgs) -> Result<Repair> {
        repair::repair(args)
    }

    fn evaluator(&self, spec: &LabelSpec, config: &Value) -> Result<Box<dyn Evaluator>> {
        let save_predictions = config["evaluation"]["save_predictions"]
            .as_bool()
            .unwrap_or(false);
        Ok(Box::new(evaluate::CocoEvaluator::new(spec, save_predictions)?))
    }

    /// `finish` has left out what is below the threshold.
    fn to_json(&self, prediction: &Fields, spec: &LabelSpec, _options: &Value) -> Result<Value> {
        json::to_json(prediction, spec)
    }

    fn draw(&self, prediction: &Fields, spec: &LabelSpec, canvas: &mut Image, options: &Value) -> Result<()> {
        draw::draw(prediction, spec, canvas, options)
    }
}

cvhost_plugin_api::export_plugin! {
    torch: false,
    schema: "../config.schema.json",
    tasks: { "detection" => Detection },
    adapters: {},
    loggers: {},
}

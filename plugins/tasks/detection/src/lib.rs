//! Task `detection`: axis-aligned boxes with classes, from COCO, Pascal VOC, YOLO or CSV files,
//! with COCO evaluation.
//!
//! Its form is `detection/1`. Targets: `boxes` (`[N, 4]` f64, xyxy in image pixels), `class_labels`
//! (`[N]` i64), `area` (`[N]` f64, square pixels) and `iscrowd` (`[N]` u8). Predictions: `boxes`
//! (`[Q, 4]` f32 or f64, xyxy in original pixels), `class_labels` (`[Q]` i64) and `scores` (`[Q]`
//! f32). Two more target fields bypass the model and go directly to the evaluator: `image_id`
//! (`[1]` i64) and `ground_truth`, described in `dataset.rs`.

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
use cvhost_plugin_api::data::{Image, MetricInfo, OpenArgs, Repair};
use cvhost_plugin_api::forms::detection;
use cvhost_plugin_api::sdk::{DataSet, Evaluator, EvaluatorArgs, PredictionArgs, Task};
use serde_json::Value;

struct Detection;

impl Task for Detection {
    fn form(&self) -> &str {
        detection::FORM
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

    fn evaluator(&self, args: &EvaluatorArgs<'_>) -> Result<Box<dyn Evaluator>> {
        let save_predictions = args.config["evaluation"]["save_predictions"]
            .as_bool()
            .unwrap_or(false);
        Ok(Box::new(evaluate::CocoEvaluator::new(
            args.spec,
            save_predictions,
        )?))
    }

    /// Predictions below the threshold were removed by `finish`.
    fn to_json(&self, args: &PredictionArgs<'_>) -> Result<Value> {
        json::to_json(args.prediction, args.spec)
    }

    fn draw(&self, args: &PredictionArgs<'_>, canvas: &mut Image) -> Result<()> {
        draw::draw(args.prediction, args.spec, canvas, &args.options)
    }
}

cvhost_plugin_api::export_plugin! {
    schema: "../config.schema.json",
    tasks: { "detection" => |_| Ok(Detection) },
}

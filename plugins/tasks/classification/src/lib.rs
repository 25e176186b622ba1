//! Task `classification`: image classification from class folders or CSV files.
//!
//! Its form is `classification/1`. Targets: `class_distribution` (`[C]` f32, role distribution, in
//! label order), 1 for the image's class; in multi-label datasets 1 for each class that applies.
//! Predictions: `class_scores` (`[C]` f32, role distribution): softmax probabilities, or sigmoid
//! values of a multi-label model. `LabelSpec::extra` is JSON: `multi_label` (bool) and
//! `class_counts` (the number of images per class in this split).

mod auroc;
mod classes;
mod config;
mod dataset;
mod draw;
mod evaluate;
mod folders;
mod found;
mod gathered;
mod json;
mod measures;
mod predictions;
mod records;
mod repair;
mod scores;
mod table;

use cvhost_plugin_api::Result;
use cvhost_plugin_api::data::{Image, MetricInfo, OpenArgs, Repair};
use cvhost_plugin_api::forms::classification;
use cvhost_plugin_api::sdk::{DataSet, Evaluator, EvaluatorArgs, PredictionArgs, Task};
use serde_json::Value;

struct Classification;

impl Task for Classification {
    fn form(&self) -> &str {
        classification::FORM
    }

    fn metrics(&self) -> Vec<MetricInfo> {
        evaluate::metrics()
    }

    fn open(&self, args: &OpenArgs) -> Result<Box<dyn DataSet>> {
        Ok(Box::new(dataset::ClassificationDataSet::open(args)?))
    }

    fn repair(&self, args: &OpenArgs) -> Result<Repair> {
        repair::repair(args)
    }

    fn evaluator(&self, args: &EvaluatorArgs<'_>) -> Result<Box<dyn Evaluator>> {
        let save_predictions = args.config["evaluation"]["save_predictions"]
            .as_bool()
            .unwrap_or(false);
        Ok(Box::new(evaluate::ClassificationEvaluator::new(
            args.spec,
            save_predictions,
        )?))
    }

    fn to_json(&self, args: &PredictionArgs<'_>) -> Result<Value> {
        json::to_json(args.prediction, args.spec, &args.options)
    }

    fn draw(&self, args: &PredictionArgs<'_>, canvas: &mut Image) -> Result<()> {
        draw::draw(args.prediction, args.spec, canvas, &args.options)
    }
}

cvhost_plugin_api::export_plugin! {
    schema: "../config.schema.json",
    tasks: { "classification" => |_| Ok(Classification) },
}

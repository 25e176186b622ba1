//! Adapter for DETR (Carion et al. 2020, "End-to-End Object Detection with Transformers"): a
//! ResNet, and a transformer that decodes object queries into boxes, trained with bipartite
//! matching.
//!
//! In the paper's order: `cvhost_resnet`, `position`, `transformer`, then `network`, which combines
//! them. Everything that detectors share is in `cvhost_detection`.

mod config;
mod network;
mod position;
#[cfg(test)]
mod tests;
mod transformer;

use config::DetrConfig;
use cvhost_detection::{Family, Padding, export_detector};
use cvhost_image_processor::Defaults;
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::torch::Scope;
use network::DetrNetwork;
use serde_json::Value;

struct Detr;

impl Family for Detr {
    type Network = DetrNetwork;

    const MODEL_TYPE: &'static str = "detr";
    const ARCHITECTURE: &'static str = "DetrForObjectDetection";
    const PROCESSOR: Defaults = Defaults::shortest_edge("DetrImageProcessor");
    const PADDING: Padding = Padding::Masked;

    fn stride(json: &Value) -> Result<i64> {
        Ok(config::backbone(json)?.stride())
    }

    fn network(root: &Scope, json: &Value, config: &Value, classes: i64) -> Result<DetrNetwork> {
        Ok(DetrNetwork::new(root, DetrConfig::new(json, config)?, classes))
    }
}

export_detector!("detr" => Detr);

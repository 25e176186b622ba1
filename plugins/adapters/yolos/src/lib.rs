//! Adapter for YOLOS (Fang et al. 2021, "You Only Look at One Sequence"): a plain vision
//! transformer that processes detection tokens along with the image's patches, trained with
//! bipartite matching.
//!
//! `vit` is the transformer, `network` adds the heads. Everything that detectors share is in
//! `cvhost_detection`.

mod config;
mod network;
#[cfg(test)]
mod tests;
mod vit;

use config::YolosConfig;
use cvhost_detection::{Family, Padding, export_detector};
use cvhost_image_processor::Defaults;
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::torch::Scope;
use network::YolosNetwork;
use serde_json::Value;

struct Yolos;

impl Family for Yolos {
    type Network = YolosNetwork;

    const MODEL_TYPE: &'static str = "yolos";
    const ARCHITECTURE: &'static str = "YolosForObjectDetection";
    /// Input sides are whole numbers of patches.
    const PROCESSOR: Defaults = Defaults {
        multiple: 16,
        ..Defaults::shortest_edge("YolosImageProcessor")
    };
    /// The transformer has no attention mask.
    const PADDING: Padding = Padding::Removed;

    fn stride(json: &Value) -> Result<i64> {
        cvhost_vit::patch_size(json)
    }

    fn network(root: &Scope, json: &Value, config: &Value, classes: i64) -> Result<YolosNetwork> {
        Ok(YolosNetwork::new(root, YolosConfig::new(json, config)?, classes))
    }
}

export_detector!("yolos" => Yolos);

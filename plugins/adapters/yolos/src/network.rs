//! YOLOS's network: patches and detection tokens → encoder → class and box of each detection token.

use crate::config::YolosConfig;
use crate::vit::VisionTransformer;
use cvhost_detection::{Heads, Images, Network, Predictions};
use cvhost_plugin_api::data::Tags;
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::torch::Scope;
use serde_json::{Map, Value};
use tch::Tensor;

pub struct YolosNetwork {
    vit: VisionTransformer,
    heads: Heads,
    config: YolosConfig,
}

impl YolosNetwork {
    pub fn new(root: &Scope, config: YolosConfig, classes: i64) -> Self {
        let heads = root.at_depth(config.vit.layers as u32 + 1);
        let (d, std) = (config.vit.hidden_size, config.vit.initializer_range);
        YolosNetwork {
            vit: VisionTransformer::new(&root.sub("vit").tagged(Tags::BACKBONE), &config),
            heads: Heads::mlp(&heads, d, classes, std),
            config,
        }
    }
}

impl Network for YolosNetwork {
    fn queries(&self) -> i64 {
        self.config.detection_tokens
    }

    fn smallest_input(&self) -> i64 {
        self.config.vit.patch_size
    }

    fn layers(&self, images: &Images<'_>, every_layer: bool) -> Result<Vec<Tensor>> {
        Ok(self.vit.forward(images.pixel_values, images.train, every_layer))
    }

    fn heads(&self, states: &Tensor) -> Predictions {
        self.heads.forward(states)
    }

    fn write_config(&self, json: &mut Map<String, Value>) {
        self.config.write(json);
    }
}

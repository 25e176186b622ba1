//! ResNet's classifier: feature map → average → dropout → logits.

use cvhost_classification::Network;
use cvhost_layers::Linear;
use cvhost_layers::config_json::{dropout_override, require_three_channels, saved};
use cvhost_plugin_api::data::{LabelSpec, Tags};
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::torch::Scope;
use cvhost_resnet::{Aliases, NormKind, ResNet, ResNetConfig};
use serde_json::{Map, Value};
use tch::Tensor;

/// The network's prefix in a classifier's checkpoint; checkpoints of the bare network lack it.
const PREFIX: &str = "resnet";

pub struct ResNetClassifier {
    resnet: ResNet,
    head: Linear,
    /// Dropout of the averaged features in training. ResNet itself has none, and `config.json` has
    /// no key for it.
    dropout: f64,
}

/// The architecture described by `config.json`. `out_features` applies to backbones; a classifier
/// uses the last stage.
pub fn shape(json: &Value) -> Result<ResNetConfig> {
    let shape = ResNetConfig::hugging_face(json, "")?;
    Ok(ResNetConfig {
        output_stage: shape.hidden_sizes.len() - 1,
        ..shape
    })
}

impl ResNetClassifier {
    /// `json` is `config.json`, `config` the whole resolved configuration, of which `model.dropout`
    /// is used.
    pub fn new(root: &Scope, json: &Value, config: &Value, classes: i64) -> Result<Self> {
        require_three_channels(json)?;
        let shape = shape(json)?;
        let scope = root.sub(PREFIX).tagged(Tags::BACKBONE);
        let head = root
            .sub("classifier.1")
            .tagged(Tags::CLASS_HEAD)
            .at_depth(shape.hidden_sizes.len() as u32 + 1);
        Ok(ResNetClassifier {
            resnet: ResNet::new(&scope, PREFIX, &shape, NormKind::Trained, &mut Aliases::new()),
            head: Linear::torch_default(&head, shape.output_channels(), classes),
            dropout: dropout_override(config)?.unwrap_or(0.0),
        })
    }
}

impl Network for ResNetClassifier {
    fn logits(&self, pixel_values: &Tensor, train: bool) -> Result<Tensor> {
        let features = self.resnet.forward(pixel_values, train);
        let pooled = features.adaptive_avg_pool2d([1, 1]).flatten(1, -1);
        Ok(self.head.forward(&pooled.dropout(self.dropout, train)))
    }

    fn aliases(&self, name: &str) -> Vec<String> {
        cvhost_classification::without_prefix(name, PREFIX)
    }

    fn config_json(&self, original: &Value, spec: &LabelSpec) -> Map<String, Value> {
        saved(original, "resnet", "ResNetForImageClassification", spec)
    }
}

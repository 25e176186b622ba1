//! The classifier: a linear layer on the class token's last hidden state. DeiT trained with a
//! teacher has another one on the distillation token's, and averages the two.

use crate::config::Family;
use crate::vit::VisionTransformer;
use cvhost_classification::{Network, without_prefix};
use cvhost_layers::Linear;
use cvhost_layers::config_json::saved;
use cvhost_plugin_api::data::{LabelSpec, Tags};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::torch::Scope;
use cvhost_vit::{Defaults, VitConfig};
use serde_json::{Map, Value, json};
use tch::Tensor;

pub struct VitClassifier {
    vit: VisionTransformer,
    /// One head for each of the first tokens.
    heads: Vec<Linear>,
    config: VitConfig,
    family: Family,
}

impl VitClassifier {
    /// `json` is `config.json`, `config` the whole resolved configuration, of which `model.dropout`
    /// is used.
    pub fn new(root: &Scope, json: &Value, config: &Value, classes: i64) -> Result<Self> {
        let family = Family::of(json)?;
        let defaults = Defaults {
            image_size: [224, 224],
        };
        let config = VitConfig::new(json, config, defaults)?;
        let scope = root.sub(family.model_type()).tagged(Tags::BACKBONE);
        let heads = root.tagged(Tags::CLASS_HEAD).at_depth(config.layers as u32 + 1);
        let head = |name: &&str| {
            Linear::new(
                &heads.sub(name),
                config.hidden_size,
                classes,
                config.initializer_range,
            )
        };
        Ok(VitClassifier {
            vit: VisionTransformer::new(&scope, &config, family),
            heads: family.heads().iter().map(head).collect(),
            config,
            family,
        })
    }
}

impl Network for VitClassifier {
    fn logits(&self, pixel_values: &Tensor, train: bool) -> Result<Tensor> {
        let (_, _, height, width) = pixel_values.size4()?;
        let least = self.config.patch_size;
        if height < least || width < least {
            return Err(PluginError::data(format!(
                "an input of {width}x{height} pixels is smaller than a patch of {least}x{least}"
            ))
            .with_help("give a larger `data.image_size`"));
        }
        let states = self.vit.forward(pixel_values, self.heads.len() as i64, train);
        let logits: Vec<Tensor> = self
            .heads
            .iter()
            .zip(0..)
            .map(|(head, token)| head.forward(&states.select(1, token)))
            .collect();
        Ok(Tensor::stack(&logits, 0).mean_dim(0, false, None))
    }

    fn aliases(&self, name: &str) -> Vec<String> {
        without_prefix(name, self.family.model_type())
    }

    fn config_json(&self, original: &Value, spec: &LabelSpec) -> Map<String, Value> {
        let mut json = saved(
            original,
            self.family.model_type(),
            self.family.architecture(),
            spec,
        );
        json.insert("hidden_dropout_prob".into(), json!(self.config.hidden_dropout));
        json
    }
}

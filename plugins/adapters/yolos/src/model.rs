//! YOLOS put together: patches and detection tokens → encoder → classes and boxes of each detection token → loss.

use crate::config::YolosConfig;
use crate::vit::VisionTransformer;
use cvhost_image_processor::PIXEL_VALUES;
use cvhost_layers::Mlp;
use cvhost_plugin_api::data::{
    Batch, Fields, LabelSpec, Meta, NamedTensor, Output, Parameter, StepContext, Tags,
};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::sdk::{Checkpoint, Model};
use cvhost_plugin_api::torch::ParameterSet;
use cvhost_set_prediction::detector::{self, Layers};
use cvhost_set_prediction::{Predictions, SetCriterion, Targets, same_size};
use serde_json::Value;
use tch::{Kind, Tensor};

pub struct Yolos {
    parameters: ParameterSet,
    vit: VisionTransformer,
    class_head: Mlp,
    box_head: Mlp,
    criterion: SetCriterion,
    config: YolosConfig,
    original: Value,
    spec: LabelSpec,
}

impl Yolos {
    pub fn new(checkpoint: &Checkpoint, config: &Value, spec: &LabelSpec) -> Result<Self> {
        let criterion = SetCriterion::from_config(&checkpoint.config, config, spec)?;
        let config = YolosConfig::new(&checkpoint.config, config)?;
        if spec.names.is_empty() {
            return Err(PluginError::data("a detector needs at least one class, got none"));
        }
        let parameters = ParameterSet::new();
        let root = parameters.root();
        let heads = root.at_depth(config.vit.layers as u32 + 1);
        // One more class for "no object".
        let classes = spec.names.len() as i64 + 1;
        let (d, std) = (config.vit.hidden_size, config.vit.initializer_range);
        let head = |name, outputs, last| Mlp::new(&heads.sub(name), d, outputs, std, last);
        Ok(Yolos {
            vit: VisionTransformer::new(&root.sub("vit").tagged(Tags::BACKBONE), &config),
            class_head: head("class_labels_classifier", classes, Tags::CLASS_HEAD),
            box_head: head("bbox_predictor", 4, Tags::NONE),
            parameters,
            criterion,
            config,
            original: checkpoint.config.clone(),
            spec: spec.clone(),
        })
    }

    /// What each layer predicts for the whole batch; layers before the last one only where `every_layer` asks for them.
    fn predict(&self, batch: &Batch, train: bool, every_layer: bool) -> Result<Layers> {
        let groups = same_size::groups(
            &batch.tensor(PIXEL_VALUES)?,
            &batch.metas,
            self.config.vit.patch_size,
        )?;
        let states: Vec<Vec<Tensor>> = groups
            .iter()
            .map(|g| self.vit.forward(&g.pixel_values, train, every_layer))
            .collect();
        let mut layers = same_size::by_layer(&groups, states);
        Ok(Layers {
            predictions: layers.iter().map(|x| self.heads(x)).collect(),
            last_hidden_state: layers.pop(),
        })
    }

    /// The detection tokens' states `[N, Q, d]` to class logits and boxes.
    fn heads(&self, x: &Tensor) -> Predictions {
        Predictions {
            logits: self.class_head.forward(x),
            // Sigmoid in f32: in half precision it rounds to whole pixels of a large image.
            pred_boxes: self.box_head.forward(x).to_kind(Kind::Float).sigmoid(),
        }
    }
}

impl Model for Yolos {
    fn parameters(&self) -> Result<Vec<Parameter>> {
        Ok(self.parameters.list(|_| Vec::new()))
    }

    fn initialise(&mut self, names: &[&str]) -> Result<()> {
        self.parameters.initialise(names)
    }

    fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        self.criterion
            .normalisers(&Targets::from_batch(batch)?, self.config.detection_tokens)
    }

    fn forward(&mut self, batch: &Batch, context: &StepContext) -> Result<Output> {
        detector::forward(&self.criterion, batch, context, |train, every_layer| {
            self.predict(batch, train, every_layer)
        })
    }

    fn finish(&mut self, outputs: &[NamedTensor], metas: &[Meta], options: &Value) -> Result<Vec<Fields>> {
        detector::finish(outputs, metas, options)
    }

    fn config_json(&self) -> Result<Value> {
        Ok(self.config.to_json(&self.original, &self.spec))
    }
}

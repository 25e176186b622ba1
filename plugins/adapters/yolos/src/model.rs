//! YOLOS put together: patches and detection tokens → encoder → classes and boxes of each detection token → loss.

use crate::config::YolosConfig;
use crate::vit::{Linear, VisionTransformer};
use cvhost_image_processor::PIXEL_VALUES;
use cvhost_plugin_api::abi_stable::std_types::ROption;
use cvhost_plugin_api::data::{
    Batch, Fields, LabelSpec, Meta, Mode, NamedTensor, Output, Parameter, StepContext, Tags, TensorHandle,
};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::sdk::{Checkpoint, Model};
use cvhost_plugin_api::torch::{ParameterSet, Scope, named};
use cvhost_set_prediction::{
    AuxiliaryLoss, DetectionOptions, Predictions, SetCriterion, Targets, detections, same_size,
};
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
        let criterion = SetCriterion::from_config(&checkpoint.config, config)?;
        let config = YolosConfig::new(&checkpoint.config, config)?;
        if spec.names.is_empty() {
            return Err(PluginError::data("a detector needs at least one class, got none"));
        }
        let parameters = ParameterSet::new();
        let root = parameters.root();
        let heads = root.at_depth(config.layers as u32 + 1);
        // One more class for "no object".
        let classes = spec.names.len() as i64 + 1;
        Ok(Yolos {
            vit: VisionTransformer::new(&root.sub("vit").tagged(Tags::BACKBONE), &config),
            class_head: Mlp::new(
                &heads.sub("class_labels_classifier"),
                classes,
                Tags::CLASS_HEAD,
                &config,
            ),
            box_head: Mlp::new(&heads.sub("bbox_predictor"), 4, Tags::NONE, &config),
            parameters,
            criterion,
            config,
            original: checkpoint.config.clone(),
            spec: spec.clone(),
        })
    }

    /// What each layer predicts for the whole batch, the last one last; earlier ones only where `every_layer` asks for them.
    /// With the last layer's states `[N, Q, d]`.
    fn predict(
        &self,
        batch: &Batch,
        train: bool,
        every_layer: bool,
    ) -> Result<(Vec<Predictions>, Option<Tensor>)> {
        let groups = same_size::groups(&batch.tensor(PIXEL_VALUES)?, &batch.metas, self.config.patch_size)?;
        let states: Vec<Vec<Tensor>> = groups
            .iter()
            .map(|g| self.vit.forward(&g.pixel_values, train, every_layer))
            .collect();
        let mut layers = same_size::by_layer(&groups, states);
        let predictions = layers.iter().map(|x| self.heads(x)).collect();
        Ok((predictions, layers.pop()))
    }

    /// The detection tokens' states `[N, Q, d]` to class logits and boxes.
    fn heads(&self, x: &Tensor) -> Predictions {
        Predictions {
            logits: self.class_head.forward(x),
            // Sigmoid in f32: in half precision it rounds to whole pixels of a large picture.
            pred_boxes: self.box_head.forward(x).to_kind(Kind::Float).sigmoid(),
        }
    }
}

/// Three linear layers with ReLU between them.
struct Mlp([Linear; 3]);

impl Mlp {
    /// `last` is what the last layer is, besides.
    fn new(scope: &Scope, outputs: i64, last: Tags, config: &YolosConfig) -> Self {
        let d = config.hidden_size;
        let layers = scope.sub("layers");
        Mlp([
            Linear::new(&layers.sub(0), d, d, true, config),
            Linear::new(&layers.sub(1), d, d, true, config),
            Linear::new(&layers.sub(2).tagged(last), d, outputs, true, config),
        ])
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let [first, second, third] = &self.0;
        third.forward(&second.forward(&first.forward(x).relu()).relu())
    }
}

impl Model for Yolos {
    fn parameters(&self) -> Vec<Parameter> {
        self.parameters.list(|_| Vec::new())
    }

    fn initialise(&mut self, names: &[&str]) -> Result<()> {
        self.parameters.initialise(names)
    }

    fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        Ok(self
            .criterion
            .normalisers(&Targets::from_batch(batch)?, self.config.detection_tokens))
    }

    fn forward(&mut self, batch: &Batch, context: &StepContext) -> Result<Output> {
        let scored = context.mode != Mode::PREDICT;
        let every_layer = scored && self.criterion.auxiliary != AuxiliaryLoss::Off;
        let (layers, last_hidden_state) = self.predict(batch, context.mode == Mode::TRAIN, every_layer)?;

        let mut output = Output::default();
        if scored {
            let loss = self
                .criterion
                .loss(&layers, &Targets::from_batch(batch)?, &context.normalisers)?;
            output.loss = ROption::RSome(TensorHandle::new(loss.loss));
            output.parts = loss.parts.into();
        }
        if let Some(last) = layers.last() {
            output.outputs.push(named("logits", last.logits.detach()));
            output.outputs.push(named("pred_boxes", last.pred_boxes.detach()));
        }
        output
            .outputs
            .extend(last_hidden_state.map(|x| named("last_hidden_state", x.detach())));
        Ok(output)
    }

    fn finish(&mut self, outputs: &[NamedTensor], metas: &[Meta], options: &Value) -> Result<Vec<Fields>> {
        let output = |name: &str| {
            let found = outputs.iter().find(|o| o.name == name).map(|o| o.tensor.tensor());
            found.ok_or_else(|| PluginError::failed(format!("finish: the outputs have no `{name}`")))
        };
        let options = DetectionOptions::from_json(options)?;
        detections(&output("logits")?, &output("pred_boxes")?, metas, &options)
    }

    fn config_json(&self) -> Result<Value> {
        Ok(self.config.to_json(&self.original, &self.spec))
    }
}

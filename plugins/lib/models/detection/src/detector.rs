//! The plugin interface's model around a family's network.

use crate::family::Family;
use crate::forms::{PIXEL_MASK, PIXEL_VALUES};
use crate::network::{Images, Network, Padding};
use crate::postprocess::{DetectionOptions, detections};
use crate::same_size;
use crate::targets::targets;
use cvhost_layers::config_json::saved;
use cvhost_plugin_api::data::{
    Batch, Fields, LabelSpec, Mode, Optional, Output, Parameter, StepContext, TensorHandle,
};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::sdk::{Checkpoint, FinishArgs, Model};
use cvhost_plugin_api::torch::{ParameterSet, named};
use cvhost_set_prediction::{AuxiliaryLoss, Predictions, SetCriterion};
use serde_json::Value;
use tch::Tensor;

/// Names of the raw outputs.
const LOGITS: &str = "logits";
const PRED_BOXES: &str = "pred_boxes";
const LAST_HIDDEN_STATE: &str = "last_hidden_state";

/// A detection network with its loss.
pub struct Detector<N> {
    parameters: ParameterSet,
    network: N,
    criterion: SetCriterion,
    padding: Padding,
    model_type: &'static str,
    architecture: &'static str,
    /// `config.json` as it was read.
    original: Value,
    spec: LabelSpec,
}

impl<N: Network> Detector<N> {
    /// The detector that `checkpoint` describes, for the classes of `spec`. `config` is the whole
    /// resolved configuration.
    ///
    /// # Errors
    /// No classes; a value in `config.json` or `config` of the wrong type or out of range.
    pub fn new<F: Family<Network = N>>(
        checkpoint: &Checkpoint,
        config: &Value,
        spec: &LabelSpec,
    ) -> Result<Self> {
        if spec.names.is_empty() {
            return Err(PluginError::data("a detector needs at least one class, got none"));
        }
        let json = &checkpoint.config;
        let criterion = SetCriterion::from_config(json, config, spec, &F::LOSS)?;
        let parameters = ParameterSet::new();
        Ok(Detector {
            network: F::network(&parameters.root(), json, config, spec.names.len() as i64)?,
            parameters,
            criterion,
            padding: F::PADDING,
            model_type: F::MODEL_TYPE,
            architecture: F::ARCHITECTURE,
            original: json.clone(),
            spec: spec.clone(),
        })
    }

    /// The network's states `[N, Q, d]` per layer, images in batch order.
    fn layers(&self, batch: &Batch, train: bool, every_layer: bool) -> Result<Vec<Tensor>> {
        let pixel_values = batch.tensor(PIXEL_VALUES)?;
        let run = |pixel_values: &Tensor, pixel_mask: Option<&Tensor>| {
            let images = Images {
                pixel_values,
                pixel_mask,
                train,
            };
            self.network.layers(&images, every_layer)
        };
        if train && self.padding == Padding::Masked {
            let padded = same_size::is_padded(&pixel_values, &batch.metas)?;
            let mask = padded.then(|| batch.tensor(PIXEL_MASK)).transpose()?;
            return run(&pixel_values, mask.as_ref());
        }
        let groups = same_size::groups(&pixel_values, &batch.metas, self.network.smallest_input())?;
        let states = groups.iter().map(|g| run(&g.pixel_values, None));
        Ok(same_size::by_layer(&groups, states.collect::<Result<_>>()?))
    }
}

impl<N: Network> Model for Detector<N> {
    fn parameters(&self) -> Result<Vec<Parameter>> {
        Ok(self.parameters.list(|name| self.network.aliases(name)))
    }

    fn initialise(&mut self, names: &[&str]) -> Result<()> {
        self.parameters.initialise(names)
    }

    fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        self.criterion
            .normalisers(&targets(batch)?, self.network.queries())
    }

    fn forward(&mut self, batch: &Batch, context: &StepContext<'_>) -> Result<Output> {
        let train = context.mode == Mode::TRAIN;
        let scored = context.mode != Mode::PREDICT;
        let every_layer = scored && self.criterion.auxiliary != AuxiliaryLoss::Off;
        let states = self.layers(batch, train, every_layer)?;
        let predictions: Vec<Predictions> = states.iter().map(|s| self.network.heads(s)).collect();

        let mut output = Output::default();
        if scored {
            let loss = self
                .criterion
                .loss(&predictions, &targets(batch)?, &context.normalisers)?;
            output.loss = Optional::some(TensorHandle::new(loss.loss));
            output.parts = loss.parts.into();
        }
        if let (Some(last), Some(state)) = (predictions.last(), states.last()) {
            output.outputs.push(named(LOGITS, last.logits.detach()));
            output.outputs.push(named(PRED_BOXES, last.pred_boxes.detach()));
            output.outputs.push(named(LAST_HIDDEN_STATE, state.detach()));
        }
        Ok(output)
    }

    fn finish(&mut self, args: &FinishArgs<'_>) -> Result<Vec<Fields>> {
        let outputs = args.outputs;
        let options = &args.options;
        let output = |name: &str| {
            let found = outputs.iter().find(|o| o.name == name).map(|o| o.tensor.tensor());
            found.ok_or_else(|| PluginError::failed(format!("finish: the outputs have no `{name}`")))
        };
        let options = DetectionOptions::from_json(options)?;
        detections(&output(LOGITS)?, &output(PRED_BOXES)?, args.metas, &options)
    }

    fn config_json(&self) -> Result<Value> {
        let mut json = saved(&self.original, self.model_type, self.architecture, &self.spec);
        self.network.write_config(&mut json);
        Ok(Value::Object(json))
    }
}

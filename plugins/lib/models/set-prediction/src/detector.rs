//! The parts of an adapter's `Model` that are the same for all detectors of this kind.

use crate::criterion::{AuxiliaryLoss, SetCriterion};
use crate::detections::{DetectionOptions, detections};
use crate::targets::{Predictions, Targets};
use cvhost_plugin_api::abi_stable::std_types::ROption;
use cvhost_plugin_api::data::{Batch, Fields, Meta, Mode, NamedTensor, Output, StepContext, TensorHandle};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::torch::named;
use serde_json::Value;
use tch::Tensor;

/// What a network makes of a batch.
pub struct Layers {
    /// What each decoder layer predicts, the last one last.
    pub predictions: Vec<Predictions>,
    /// The last layer's states `[N, Q, d]`.
    pub last_hidden_state: Option<Tensor>,
}

/// `Model::forward`: `predict` with its loss and parts where targets are wanted. It gets whether the network trains, and
/// whether layers before the last one are asked for; without auxiliary losses they are not.
pub fn forward(
    criterion: &SetCriterion,
    batch: &Batch,
    context: &StepContext,
    predict: impl FnOnce(bool, bool) -> Result<Layers>,
) -> Result<Output> {
    let scored = context.mode != Mode::PREDICT;
    let every_layer = scored && criterion.auxiliary != AuxiliaryLoss::Off;
    let layers = predict(context.mode == Mode::TRAIN, every_layer)?;

    let mut output = Output::default();
    if scored {
        let targets = Targets::from_batch(batch)?;
        let loss = criterion.loss(&layers.predictions, &targets, &context.normalisers)?;
        output.loss = ROption::RSome(TensorHandle::new(loss.loss));
        output.parts = loss.parts.into();
    }
    if let Some(last) = layers.predictions.last() {
        output.outputs.push(named("logits", last.logits.detach()));
        output.outputs.push(named("pred_boxes", last.pred_boxes.detach()));
    }
    output.outputs.extend(
        layers
            .last_hidden_state
            .map(|x| named("last_hidden_state", x.detach())),
    );
    Ok(output)
}

/// `Model::finish`: the outputs of [`forward`] to the form `detection/1`, see [`detections`].
pub fn finish(outputs: &[NamedTensor], metas: &[Meta], options: &Value) -> Result<Vec<Fields>> {
    let output = |name: &str| {
        let found = outputs.iter().find(|o| o.name == name).map(|o| o.tensor.tensor());
        found.ok_or_else(|| PluginError::failed(format!("finish: the outputs have no `{name}`")))
    };
    let options = DetectionOptions::from_json(options)?;
    detections(&output("logits")?, &output("pred_boxes")?, metas, &options)
}

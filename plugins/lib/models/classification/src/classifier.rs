//! An adapter's `Model`, wrapping a family's network.

use crate::CLASS_DISTRIBUTION;
use crate::criterion::Criterion;
use crate::labels::Labels;
use crate::scores::scores;
use cvhost_image_processor::PIXEL_VALUES;
use cvhost_plugin_api::data::{
    Batch, Fields, LabelSpec, Mode, Optional, Output, Parameter, StepContext, TensorHandle,
};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::sdk::{Checkpoint, FinishArgs, Model};
use cvhost_plugin_api::torch::{ParameterSet, Scope, named};
use serde_json::{Map, Value};
use tch::Tensor;

/// The name of the raw output.
const LOGITS: &str = "logits";

/// The interface of a family's network for [`Classifier`].
pub trait Network: Send {
    /// Maps `pixel_values` `[N, 3, H, W]` to logits `[N, C]`.
    fn logits(&self, pixel_values: &Tensor, train: bool) -> Result<Tensor>;
    /// Alternative names of the parameter `name` in files.
    fn aliases(&self, name: &str) -> Vec<String>;
    /// The family's part of the `config.json` to save; `original` is the one read.
    fn config_json(&self, original: &Value, spec: &LabelSpec) -> Map<String, Value>;
}

/// A parameter's name in a checkpoint of the bare network without a head: `name` without `prefix`.
pub fn without_prefix(name: &str, prefix: &str) -> Vec<String> {
    let bare = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.'));
    bare.map(str::to_owned).into_iter().collect()
}

/// A classifier network with its loss.
pub struct Classifier<N> {
    parameters: ParameterSet,
    network: N,
    labels: Labels,
    criterion: Criterion,
    original: Value,
    spec: LabelSpec,
}

impl<N: Network> Classifier<N> {
    /// `build` creates the network's parameters in the given scope, for the given number of
    /// classes. `config` is the whole resolved configuration.
    pub fn new(
        checkpoint: &Checkpoint,
        config: &Value,
        spec: &LabelSpec,
        build: impl FnOnce(&Scope, i64) -> Result<N>,
    ) -> Result<Self> {
        let labels = Labels::new(spec, &checkpoint.config)?;
        let criterion = Criterion::from_config(config, &labels)?;
        let parameters = ParameterSet::new();
        Ok(Classifier {
            network: build(&parameters.root(), labels.names.len() as i64)?,
            parameters,
            labels,
            criterion,
            original: checkpoint.config.clone(),
            spec: spec.clone(),
        })
    }

    /// The batch's `[N, 3, H, W]` input; N must be the number of samples.
    fn pixel_values(&self, batch: &Batch) -> Result<Tensor> {
        let pixel_values = batch.tensor(PIXEL_VALUES)?;
        match pixel_values.size().as_slice() {
            &[n, 3, _, _] if n == batch.len() as i64 => Ok(pixel_values),
            other => Err(PluginError::failed(format!(
                "`{PIXEL_VALUES}`: expected [{}, 3, H, W], got {other:?}",
                batch.len()
            ))),
        }
    }
}

impl<N: Network> Model for Classifier<N> {
    fn parameters(&self) -> Result<Vec<Parameter>> {
        Ok(self.parameters.list(|name| self.network.aliases(name)))
    }

    fn initialise(&mut self, names: &[&str]) -> Result<()> {
        self.parameters.initialise(names)
    }

    fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        Ok(vec![
            self.criterion.normaliser(&batch.tensor(CLASS_DISTRIBUTION)?)?,
        ])
    }

    fn forward(&mut self, batch: &Batch, context: &StepContext<'_>) -> Result<Output> {
        let train = context.mode == Mode::TRAIN;
        if train {
            self.criterion.weights.allow_training()?;
        }
        let logits = self.network.logits(&self.pixel_values(batch)?, train)?;
        let mut output = Output::default();
        if context.mode != Mode::PREDICT {
            let targets = batch.tensor(CLASS_DISTRIBUTION)?;
            let normaliser = match context.normalisers.as_slice() {
                [] => self.criterion.normaliser(&targets)?,
                &[normaliser] => normaliser,
                more => {
                    return Err(PluginError::failed(format!(
                        "expected 1 normaliser, got {}",
                        more.len()
                    )));
                }
            };
            let loss = self.criterion.loss(&logits, &targets, normaliser)?;
            output.loss = Optional::some(TensorHandle::new(loss));
        }
        output.outputs.push(named(LOGITS, logits.detach()));
        Ok(output)
    }

    fn finish(&mut self, args: &FinishArgs<'_>) -> Result<Vec<Fields>> {
        let outputs = args.outputs;
        let logits = outputs
            .iter()
            .find(|o| o.name == LOGITS)
            .ok_or_else(|| PluginError::failed(format!("finish: the outputs have no `{LOGITS}`")))?;
        scores(&logits.tensor.tensor(), self.labels.multi_label)
    }

    fn config_json(&self) -> Result<Value> {
        let mut json = self.network.config_json(&self.original, &self.spec);
        self.labels.write(&mut json);
        Ok(Value::Object(json))
    }
}

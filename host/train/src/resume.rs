//! How a training is kept in a checkpoint, and goes on from it exactly as if it had never stopped.

use super::ema::Ema;
use super::monitor::Monitor;
use super::optimizer::Optimizer;
use super::scaler::Scaler;
use super::standing::Standing;
use cvhost::error::{Error, Result};
use cvhost::progress;
use cvhost_checkpoint::background::Memory;
use cvhost_checkpoint::{ModelImage, ModelParts, Packed, StateImage, TrainingState, labels};
use cvhost_plugin_api::data::LabelSpec;
use cvhost_torch::network::Network;
use cvhost_torch::shim;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Device, Tensor};

/// More bytes than the states of all random generators take.
const GENERATORS: usize = 1 << 15;

/// What the JSON part of a training state says.
#[derive(Serialize, Deserialize)]
pub struct Record {
    #[serde(flatten)]
    pub standing: Standing,
    /// Images in a batch; unknown in old checkpoints.
    batch_size: Option<u32>,
    /// Of `--overfit-batches`.
    pub overfit_batches: Option<u32>,
    #[serde(default)]
    scaler: Value,
    #[serde(default)]
    monitor: Value,
}

impl Record {
    /// # Errors
    /// Something is missing, or isn't what it should be.
    pub fn of(state: &TrainingState) -> Result<Self> {
        Record::deserialize(&state.json).map_err(|e| {
            Error::input(format!("the checkpoint's training state is not usable: {e}"))
                .with_help("start a new run from the checkpoint: model.model_name is its folder")
        })
    }

    /// The same place in the training for batches of another size: as many as hold the same images, rounded down.
    pub fn for_batches_of(mut self, size: u32) -> Self {
        let done = &mut self.standing.at.batch;
        let before = self.batch_size.unwrap_or(size);
        if before != size && *done > 0 {
            tracing::warn!(
                "the run had batches of {before} images, now they have {size}: a few images of this epoch may come twice"
            );
        }
        *done = done.saturating_mul(before as usize) / size.max(1) as usize;
        self
    }
}

/// What a checkpoint is copied from.
pub struct Sources<'a> {
    pub network: &'a Network,
    pub optimizer: &'a Optimizer,
    /// The network holds its averages.
    pub ema: Option<&'a Ema>,
    pub scaler: Option<&'a Scaler>,
    pub monitor: &'a Monitor,
    pub preprocessor: &'a Value,
    pub labels: &'a LabelSpec,
    pub batch_size: u32,
    pub overfit_batches: Option<u32>,
}

impl Sources<'_> {
    /// Bytes that the copies of model and training state take, at least.
    pub fn sizes(&self) -> [usize; 2] {
        let parameters = self.network.parameters().iter().map(|p| p.tensor.tensor());
        let (parameters, state) = (parameters.collect::<Vec<_>>(), self.tensors());
        [
            Packed::bytes_for(&parameters),
            Packed::bytes_for(state.iter().map(|(_, tensor)| tensor)) + GENERATORS,
        ]
    }

    /// What the training state holds beside the generators.
    fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut named = self.optimizer.state();
        named.extend(self.ema.iter().flat_map(|ema| ema.state()));
        named
    }

    /// Model and training state in memory.
    pub fn copy(&self, standing: &Standing, [weights, tensors]: Memory) -> Result<(ModelImage, StateImage)> {
        let mut config = self.network.config()?;
        labels::remember(&mut config, self.labels);
        let parts = ModelParts {
            parameters: self.network.parameters(),
            config: &config,
            preprocessor: Some(self.preprocessor),
        };
        let mut named = self.tensors();
        for device in shim::generators_of(self.network.device()) {
            named.push((rng_name(device), shim::rng_state(device)?));
        }
        let record = Record {
            standing: standing.clone(),
            batch_size: Some(self.batch_size),
            overfit_batches: self.overfit_batches,
            scaler: self.scaler.map_or(Value::Null, Scaler::state),
            monitor: self.monitor.state(),
        };
        let state = TrainingState {
            tensors: named,
            json: serde_json::to_value(record).map_err(|e| Error::failed(format!("JSON: {e}")))?,
        };
        Ok((parts.image(weights)?, state.image(tensors)?))
    }
}

/// What takes a training state over.
pub struct Targets<'a> {
    pub optimizer: &'a mut Optimizer,
    pub ema: Option<&'a mut Ema>,
    pub scaler: Option<&'a mut Scaler>,
    pub monitor: &'a mut Monitor,
}

/// Takes over a checkpoint's training state and its record; the weights are in the network already.
pub fn restore(state: &TrainingState, record: Record, device: Device, into: Targets<'_>) -> Result<Standing> {
    let Targets {
        optimizer,
        ema,
        scaler,
        monitor,
    } = into;
    let at = record.standing.at;
    optimizer.begin_epoch(at.epoch)?;
    optimizer.restore(&state.tensors)?;
    let averaged = state.tensors.iter().any(|(name, _)| name.starts_with("weights."));
    match ema {
        Some(ema) => ema.restore(&state.tensors)?,
        None if averaged => {
            return Err(
                Error::input("the checkpoint's run has averaged weights, this one has not")
                    .with_expected("training.ema as the run had it")
                    .with_help("set training.ema again, or start a new run from the checkpoint"),
            );
        }
        None => {}
    }
    for device in shim::generators_of(device) {
        // A run that goes on on another device draws other numbers there anyway.
        if let Some((_, rng)) = state.tensors.iter().find(|(name, _)| *name == rng_name(device)) {
            shim::set_rng_state(device, rng)?;
        }
    }
    monitor.restore(&record.monitor);
    if let Some(scaler) = scaler {
        scaler.restore(&record.scaler);
    }
    progress::note(&format!(
        "resuming after step {} in epoch {}",
        at.step,
        at.epoch + 1
    ));
    Ok(record.standing)
}

/// The name of a generator's state.
fn rng_name(device: Device) -> String {
    match device {
        Device::Cuda(_) => "rng.cuda".to_owned(),
        _ => "rng.cpu".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(json: Value) -> Result<Record> {
        Record::of(&TrainingState {
            tensors: Vec::new(),
            json,
        })
    }

    #[test]
    fn with_another_batch_size_the_place_in_the_epoch_stays() {
        let done = |batch_size: Value| {
            let old = json!({"epoch": 1, "batch": 5, "step": 9, "batch_size": batch_size});
            record(old).unwrap().for_batches_of(4).standing.at.batch
        };
        assert_eq!(
            [json!(4), json!(8), json!(2), Value::Null].map(done),
            [5, 10, 2, 5]
        );
    }

    #[test]
    fn an_old_state_counts_as_validated_and_a_damaged_one_is_refused() {
        let old = record(json!({"epoch": 1, "batch": 0, "step": 9, "loss_sum": 1.5, "losses": 2})).unwrap();
        assert!(old.standing.validated && old.standing.metrics.is_empty());
        let error = record(json!({"epoch": 1, "step": -9})).err().unwrap();
        assert!(error.to_string().contains("not usable"), "{error}");
    }
}

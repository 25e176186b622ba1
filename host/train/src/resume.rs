//! How a training is kept in a checkpoint, and how it continues from it exactly as if it had never
//! stopped.

use super::ema::Ema;
use super::monitor::Monitor;
use super::optimization::Optimization;
use super::progress::Progress;
use super::scaler::Scaler;
use crate::strategy::{Strategy, World, rank_name};
use cvhost::error::{Error, Result};
use cvhost_checkpoint::background::Memory;
use cvhost_checkpoint::{ModelImage, ModelParts, Packed, StateImage, TrainingState, labels};
use cvhost_plugin_api::data::LabelSpec;
use cvhost_torch::network::Network;
use cvhost_torch::shim;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Device, Tensor};

/// An upper limit for the bytes of a rank's random generators.
const GENERATORS: usize = 1 << 15;

/// How many images a step has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchShape {
    /// Images per batch of one rank.
    pub images: u32,
    pub ranks: u32,
}

/// The JSON part of a training state.
#[derive(Serialize, Deserialize)]
pub struct Record {
    #[serde(flatten)]
    pub progress: Progress,
    /// Images per batch; unknown in old checkpoints.
    batch_size: Option<u32>,
    /// Ranks that trained together.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    ranks: u32,
    /// The value of `--overfit-batches`.
    pub overfit_batches: Option<u32>,
    #[serde(default)]
    scaler: Value,
    #[serde(default)]
    monitor: Value,
}

fn one() -> u32 {
    1
}

fn is_one(ranks: &u32) -> bool {
    *ranks == 1
}

impl Record {
    /// # Errors
    /// Something is missing or has a wrong type.
    pub fn of(state: &TrainingState) -> Result<Self> {
        Record::deserialize(&state.json).map_err(|e| {
            Error::input(format!("the checkpoint's training state is not usable: {e}"))
                .with_help("start a new run from the checkpoint: model.model_name is its folder")
        })
    }

    /// The same place in the training for steps of another size: as many batches as hold the same
    /// images, rounded down. Returns a warning if that skips or repeats images.
    pub fn for_batches_of(&mut self, shape: BatchShape) -> Option<String> {
        let BatchShape { images, ranks } = shape;
        let done = &mut self.progress.at.batch;
        let before = self.batch_size.unwrap_or(images);
        let warning = (before != images && *done > 0).then(|| {
            format!(
                "the run had batches of {before} images, now they have {images}: a few images of this \
                 epoch may come twice"
            )
        });
        let seen = done.saturating_mul(before as usize * self.ranks as usize);
        *done = seen / (images.max(1) as usize * ranks.max(1) as usize);
        warning
    }
}

/// What a checkpoint is copied from.
pub struct Sources<'a> {
    pub network: &'a Network,
    /// While the network holds the averaged weights.
    pub optimization: &'a Optimization,
    pub monitor: &'a Monitor,
    pub preprocessor: &'a Value,
    pub labels: &'a LabelSpec,
    pub shape: BatchShape,
    pub overfit_batches: Option<u32>,
}

impl Sources<'_> {
    /// A lower limit for the bytes of the copies of model and training state.
    pub fn sizes(&self) -> [usize; 2] {
        let parameters = self.network.parameters().iter().map(|p| p.tensor.tensor());
        let (parameters, state) = (parameters.collect::<Vec<_>>(), self.tensors());
        [
            Packed::bytes_for(&parameters),
            Packed::bytes_for(state.iter().map(|(_, tensor)| tensor))
                + GENERATORS * self.shape.ranks as usize,
        ]
    }

    /// The tensors of the training state without the generators.
    fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut named = self.optimization.optimizer.state();
        named.extend(self.optimization.ema.iter().flat_map(Ema::state));
        named
    }

    /// Copies model and training state into memory. `generators` are those of all ranks.
    pub fn copy(
        &self,
        progress: &Progress,
        generators: Vec<(String, Tensor)>,
        [weights, tensors]: Memory,
    ) -> Result<(ModelImage, StateImage)> {
        let mut config = self.network.config()?;
        labels::remember(&mut config, self.labels);
        let parts = ModelParts {
            parameters: self.network.parameters(),
            config: &config,
            preprocessor: Some(self.preprocessor),
        };
        let mut named = self.tensors();
        named.extend(generators);
        let scaler = self.optimization.scaler.as_ref();
        let record = Record {
            progress: progress.clone(),
            batch_size: Some(self.shape.images),
            ranks: self.shape.ranks,
            overfit_batches: self.overfit_batches,
            scaler: scaler.map_or(Value::Null, Scaler::state),
            monitor: self.monitor.state(),
        };
        let state = TrainingState {
            tensors: named,
            json: serde_json::to_value(record).map_err(|e| Error::failed(format!("JSON: {e}")))?,
        };
        Ok((parts.image(weights)?, state.image(tensors)?))
    }
}

/// The states of the random generators of all ranks.
pub fn generators(device: Device, strategy: &impl Strategy) -> Result<Vec<(String, Tensor)>> {
    let devices = shim::generators_of(device).into_iter();
    let states = devices.map(|device| Ok((rng_name(device), shim::rng_state(device)?)));
    strategy.gather_generators(states.collect::<Result<_>>()?)
}

/// Restores a checkpoint's training state; the network has its weights already.
///
/// # Errors
/// The state doesn't fit the model or the configuration.
pub fn restore(
    state: &TrainingState,
    record: Record,
    network: &Network,
    optimization: &mut Optimization,
    monitor: &mut Monitor,
    world: World,
) -> Result<Progress> {
    optimization.optimizer.begin_epoch(record.progress.at.epoch)?;
    optimization.optimizer.restore(&state.tensors)?;
    let averaged = state.tensors.iter().any(|(name, _)| name.starts_with("weights."));
    match &mut optimization.ema {
        Some(ema) => ema.restore(&state.tensors)?,
        None if averaged => {
            return Err(
                Error::input("the checkpoint's run has averaged weights, but this one has none")
                    .with_expected("training.ema as in that run")
                    .with_help("set training.ema again, or start a new run from the checkpoint"),
            );
        }
        None => {}
    }
    for device in shim::generators_of(network.device()) {
        // A run that continues on another device draws other numbers there anyway, and so does a
        // rank that the run didn't have before.
        let name = rank_name(&rng_name(device), world.rank);
        if let Some((_, rng)) = state.tensors.iter().find(|(n, _)| *n == name) {
            shim::set_rng_state(device, rng)?;
        }
    }
    monitor.restore(&record.monitor);
    if let Some(scaler) = &mut optimization.scaler {
        scaler.restore(&record.scaler);
    }
    Ok(record.progress)
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
    fn the_place_in_the_epoch_stays_with_another_batch_size() {
        let done = |batch_size: Value| {
            let old = json!({"epoch": 1, "batch": 5, "step": 9, "batch_size": batch_size});
            let mut record = record(old).unwrap();
            record.for_batches_of(BatchShape { images: 4, ranks: 1 });
            record.progress.at.batch
        };
        assert_eq!(
            [json!(4), json!(8), json!(2), Value::Null].map(done),
            [5, 10, 2, 5]
        );
    }

    #[test]
    fn the_place_in_the_epoch_stays_with_another_number_of_ranks() {
        let old = json!({"epoch": 1, "batch": 6, "step": 9, "batch_size": 4, "ranks": 2});
        let mut record = record(old).unwrap();
        let warning = record.for_batches_of(BatchShape { images: 4, ranks: 4 });
        assert_eq!((record.progress.at.batch, warning), (3, None));
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["ranks"], 2);
    }

    #[test]
    fn an_old_state_counts_as_validated_and_a_damaged_one_is_refused() {
        let old = record(json!({"epoch": 1, "batch": 0, "step": 9, "loss_sum": 1.5, "losses": 2})).unwrap();
        assert!(old.progress.validated && old.progress.metrics.is_empty());
        let error = record(json!({"epoch": 1, "step": -9})).err().unwrap();
        assert!(error.to_string().contains("not usable"), "{error}");
    }
}

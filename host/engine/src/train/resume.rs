//! Where a training stands, and how it goes on from a checkpoint exactly as if it had never stopped.

use super::ema::Ema;
use super::monitor::Monitor;
use super::optimizer::Optimizer;
use super::precision::Scaler;
use crate::checkpoint::background::Memory;
use crate::checkpoint::{ModelImage, ModelParts, Packed, StateImage, TrainingState, labels};
use crate::network::Network;
use crate::{progress, shim};
use cvhost::config::TrainingConfig;
use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::LabelSpec;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};
use tch::{Device, Tensor};

/// Where in the run the next step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    pub epoch: u64,
    /// Batches of this epoch that are done.
    pub batch: usize,
    pub step: u64,
}

/// The position, what the epoch has added up so far, and what the last validation found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Standing {
    pub at: Position,
    loss_sum: f64,
    losses: u64,
    /// Of the last validation, with the mean loss of its epoch.
    pub metrics: Map<String, Value>,
    /// Nothing was trained since that validation.
    pub validated: bool,
}

impl Position {
    /// Steps from here to the end of the last epoch, of so many batches an epoch and a step.
    pub fn steps_left(self, epochs: u64, batches: usize, accumulate: usize) -> u64 {
        let steps = |batches: usize| batches.div_ceil(accumulate.max(1)) as u64;
        match epochs.checked_sub(self.epoch + 1) {
            Some(more) => steps(batches.saturating_sub(self.batch)) + more * steps(batches),
            None => 0,
        }
    }
}

impl Standing {
    /// One more step, over so many batches.
    pub fn stepped(&mut self, batches: usize) {
        self.at.step += 1;
        self.at.batch += batches;
        self.validated = false;
    }

    pub fn add_loss(&mut self, loss: f64) {
        self.loss_sum += loss;
        self.losses += 1;
    }

    /// Takes what a validation found.
    pub fn validated(&mut self, metrics: Map<String, Value>) {
        self.metrics = metrics;
        if self.losses > 0 {
            let mean = self.loss_sum / self.losses as f64;
            self.metrics.insert("train_loss".to_owned(), json!(mean));
        }
        self.validated = true;
    }

    /// To the first batch of the next epoch.
    pub fn next_epoch(&mut self) {
        self.at = Position {
            epoch: self.at.epoch + 1,
            batch: 0,
            step: self.at.step,
        };
        (self.loss_sum, self.losses) = (0.0, 0);
    }
}

/// More bytes than the states of all random generators take.
const GENERATORS: usize = 1 << 15;

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
        let state = TrainingState {
            tensors: named,
            json: json!({
                "epoch": standing.at.epoch,
                "batch": standing.at.batch,
                "batch_size": self.batch_size,
                "overfit_batches": self.overfit_batches,
                "step": standing.at.step,
                "loss_sum": standing.loss_sum,
                "losses": standing.losses,
                "metrics": standing.metrics,
                "validated": standing.validated,
                "scaler": self.scaler.map(Scaler::state),
                "monitor": self.monitor.state(),
            }),
        };
        Ok((parts.image(weights)?, state.image(tensors)?))
    }
}

/// The place that a checkpoint's run had come to, for batches of this size.
pub fn position(state: &TrainingState, batch_size: u32) -> Position {
    let number = |key: &str| state.json[key].as_u64().unwrap_or(0);
    Position {
        epoch: number("epoch"),
        batch: batches_done(state, batch_size),
        step: number("step"),
    }
}

/// Takes over a checkpoint's training state, from its [`position`] on; the weights are in the network already.
pub fn restore(
    state: &TrainingState,
    at: Position,
    device: Device,
    optimizer: &mut Optimizer,
    ema: Option<&mut Ema>,
    monitor: &mut Monitor,
) -> Result<Standing> {
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
    monitor.restore(&state.json["monitor"]);
    progress::note(&format!(
        "resuming after step {} in epoch {}",
        at.step,
        at.epoch + 1
    ));
    Ok(Standing {
        at,
        loss_sum: state.json["loss_sum"].as_f64().unwrap_or(0.0),
        losses: state.json["losses"].as_u64().unwrap_or(0),
        metrics: state.json["metrics"].as_object().cloned().unwrap_or_default(),
        // Where nothing is said, the checkpoint is from before that was asked.
        validated: state.json["validated"].as_bool().unwrap_or(true),
    })
}

/// How many batches of this size the epoch has behind it; where the run had another one, as many as hold the same pictures, rounded
/// down.
fn batches_done(state: &TrainingState, batch_size: u32) -> usize {
    let number = |key: &str| state.json[key].as_u64();
    let done = number("batch").unwrap_or(0);
    let size = u64::from(batch_size).max(1);
    let before = number("batch_size").unwrap_or(size);
    if before != size && done > 0 {
        tracing::warn!(
            "the run had batches of {before} pictures, now they have {size}: a few pictures of this epoch may come twice"
        );
    }
    usize::try_from(done.saturating_mul(before) / size).unwrap_or(0)
}

/// The name of a generator's state.
fn rng_name(device: Device) -> String {
    match device {
        Device::Cuda(_) => "rng.cuda".to_owned(),
        _ => "rng.cpu".to_owned(),
    }
}

/// When a checkpoint is due within an epoch.
#[derive(Debug)]
pub struct Cadence {
    every_n_steps: Option<u64>,
    every: Option<Duration>,
    last: Instant,
}

impl Cadence {
    pub fn new(training: &TrainingConfig) -> Self {
        Cadence {
            every_n_steps: training.save_every_n_steps,
            every: training
                .save_every_minutes
                .and_then(|minutes| Duration::try_from_secs_f64(minutes * 60.0).ok()),
            last: Instant::now(),
        }
    }

    /// Whether one is due after `step` steps.
    pub fn due(&self, step: u64) -> bool {
        self.every_n_steps.is_some_and(|n| step.is_multiple_of(n))
            || self.every.is_some_and(|every| self.last.elapsed() >= every)
    }

    /// The time counts from here.
    pub fn saved(&mut self) {
        self.last = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_by_steps_or_by_time() {
        let training = |steps, minutes| TrainingConfig {
            save_every_n_steps: steps,
            save_every_minutes: minutes,
            ..TrainingConfig::default()
        };
        let by_steps = Cadence::new(&training(Some(3), None));
        let due: Vec<u64> = (1..8).filter(|step| by_steps.due(*step)).collect();
        assert_eq!(due, [3, 6]);
        assert!(!Cadence::new(&training(None, None)).due(3));
        assert!(!Cadence::new(&training(None, Some(10.0))).due(3));
        let mut by_time = Cadence::new(&training(None, Some(10.0)));
        by_time.every = Some(Duration::ZERO);
        assert!(by_time.due(1));
    }

    #[test]
    fn with_another_batch_size_the_place_in_the_epoch_stays() {
        let done = |json| {
            let state = TrainingState {
                tensors: Vec::new(),
                json,
            };
            batches_done(&state, 4)
        };
        assert_eq!(done(json!({"batch": 5, "batch_size": 4})), 5);
        assert_eq!(done(json!({"batch": 5, "batch_size": 8})), 10);
        assert_eq!(done(json!({"batch": 5, "batch_size": 2})), 2);
        assert_eq!(done(json!({"batch": 5})), 5);
    }

    #[test]
    fn steps_left_count_the_rest_of_the_epoch_and_those_after_it() {
        let left = |epoch, batch, epochs| {
            let at = Position {
                epoch,
                batch,
                step: 99,
            };
            at.steps_left(epochs, 7, 2)
        };
        assert_eq!((left(0, 0, 3), left(0, 2, 3), left(1, 6, 3)), (12, 11, 5));
        assert_eq!((left(2, 7, 3), left(3, 0, 3), left(5, 0, 3)), (0, 0, 0));
        // Fewer batches than the run had when it was saved.
        assert_eq!(left(1, 9, 3), 4);
    }

    #[test]
    fn the_mean_loss_is_the_epochs_own() {
        let mut standing = Standing::default();
        let validated = |standing: &mut Standing| {
            standing.validated(Map::new());
            standing.metrics.get("train_loss").and_then(Value::as_f64)
        };
        assert_eq!(validated(&mut standing), None);
        standing.stepped(1);
        standing.add_loss(1.0);
        assert!(!standing.validated);
        standing.stepped(1);
        standing.add_loss(2.0);
        assert_eq!(validated(&mut standing), Some(1.5));
        standing.next_epoch();
        let next = Position {
            epoch: 1,
            batch: 0,
            step: 2,
        };
        assert_eq!((standing.at, standing.validated), (next, true));
        assert_eq!(validated(&mut standing), None);
    }
}

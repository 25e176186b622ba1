//! The trainer: what a run trains, on which data, by which policies, with which ranks, and who
//! observes it.

use crate::events::{Plan, Resume, RunEvent};
use crate::observers::Observers;
use crate::optimization::Optimization;
use crate::parameters;
use crate::policies::Policies;
use crate::profile::{Profile, Report};
use crate::progress::{Position, Progress};
use crate::resume::{self, BatchShape, Record};
use crate::scaler::Scaler;
use crate::strategy::{Single, Strategy};
use crate::training_loop::TrainingLoop;
use crate::validation::Validation;
use cvhost::error::{Error, Result};
use cvhost_checkpoint::{Saver, TrainingState};
use cvhost_data::Loader;
use cvhost_plugin_api::data::LabelSpec;
use cvhost_torch::network::Network;
use serde_json::Value;

/// A training run, ready to start.
pub struct Trainer<'a, S = Single> {
    pub model: ModelSide<'a>,
    pub data: DataSide<'a>,
    pub policies: Policies<'a>,
    /// Writes the checkpoints; `None` on ranks that write none.
    pub saver: Option<Saver>,
    pub profile: Profile,
    pub observers: &'a mut Observers,
    pub strategy: S,
}

/// The model that is trained.
pub struct ModelSide<'a> {
    pub network: &'a mut Network,
    /// The loss scale, if the number format needs one.
    pub scaler: Option<Scaler>,
    /// The `preprocessor_config.json` that is saved with the model.
    pub preprocessor: Value,
    /// The labels that are saved with the model.
    pub labels: &'a LabelSpec,
}

/// The data that the model is trained and validated on.
pub struct DataSide<'a> {
    pub train: Loader,
    /// Images per batch of `train`.
    pub batch_size: u32,
    /// The value of `--overfit-batches`: such a run can't be resumed.
    pub overfit_batches: Option<u32>,
    pub validation: Option<Validation<'a>>,
}

/// Why a training ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Finished,
    StoppedEarly,
    Interrupted,
}

/// How a training ended.
pub struct Outcome {
    pub ended: Ended,
    /// The best value of the monitored metric.
    pub best: Option<f64>,
    /// The result of `--profile`.
    pub profile: Option<Report>,
}

impl<'a, S: Strategy> Trainer<'a, S> {
    /// Trains until the end that the configuration sets, an early stop or an interruption. `resume`
    /// is the state of an earlier run. `progress` says how far the training came, even if it fails.
    /// `begin` is called when everything is restored, before anything is computed; it may add
    /// observers.
    pub fn run(
        mut self,
        resume: Option<TrainingState>,
        progress: &mut Progress,
        begin: impl FnOnce(&mut Observers) -> Result<()>,
    ) -> Result<Outcome> {
        self.shard_data();
        match resume {
            Some(state) => {
                let training = self.resume(&state, progress)?;
                drop(state); // It may be larger than the model.
                begin(training.trainer.observers)?;
                training.run()
            }
            None => {
                let mut training = self.prepare(progress)?;
                begin(training.trainer.observers)?;
                training.check_validation()?;
                training.run()
            }
        }
    }

    /// Restricts the data to what this rank takes.
    fn shard_data(&mut self) {
        let strategy = &self.strategy;
        self.data.train = strategy.shard_training(self.data.train.clone());
        if let Some(validation) = &mut self.data.validation {
            validation.loader = strategy.shard_evaluation(validation.loader.clone());
        }
    }

    /// Prepares a training that continues from `progress`, and announces it.
    fn prepare(mut self, progress: &mut Progress) -> Result<TrainingLoop<'_, 'a, S>> {
        let batches = self.data.train.batches();
        let (network, training) = (&*self.model.network, self.policies.training);
        let scaler = self.model.scaler.take();
        let (optimization, length) = Optimization::new(network, training, scaler, progress.at, batches)?;
        if batches == 0 {
            return Err(no_batch());
        }
        self.observers.emit(&RunEvent::Plan(Plan {
            device: network.device(),
            table: parameters::table(
                network.parameters(),
                &optimization.optimizer,
                training.learning_rate,
            ),
            trained: optimization.optimizer.trained_parameters(),
            parameters: network.size(),
            steps: length.steps,
            epochs: length.epochs,
            headline: self.policies.headline(),
        }))?;
        if let Some((warmup, steps)) = optimization.endless_warmup.filter(|_| !self.policies.trial) {
            self.observers.warn(format!(
                "`training.warmup` is {warmup} steps, but the training has {steps}: the learning rate \
                 rises until its end"
            ));
        }
        Ok(TrainingLoop {
            trainer: self,
            optimization,
            length,
            progress,
        })
    }

    /// Like [`Trainer::prepare`], with the state of an earlier run.
    fn resume<'t>(
        self,
        state: &TrainingState,
        progress: &'t mut Progress,
    ) -> Result<TrainingLoop<'t, 'a, S>> {
        let mut record = Record::of(state)?;
        if let Some(warning) = record.for_batches_of(self.batch_shape()) {
            self.observers.warn(warning);
        }
        progress.at = record.progress.at;
        let mut training = self.prepare(progress)?;
        let trainer = &mut training.trainer;
        *training.progress = resume::restore(
            state,
            record,
            trainer.model.network,
            &mut training.optimization,
            &mut trainer.policies.monitor,
            trainer.strategy.world(),
        )?;
        let Position { step, epoch, .. } = training.progress.at;
        trainer
            .observers
            .emit(&RunEvent::Resumed(Resume { step, epoch }))?;
        Ok(training)
    }

    /// How many images a step of all ranks has.
    pub(crate) fn batch_shape(&self) -> BatchShape {
        BatchShape {
            images: self.data.batch_size,
            ranks: self.strategy.world().size,
        }
    }
}

/// The error of a training without a single batch: there are fewer images than one batch takes, and
/// `data.last_batch` drops the rest.
pub(crate) fn no_batch() -> Error {
    Error::input("the training data has no batch")
        .with_help("lower data.batch_size, or set data.last_batch to keep")
}

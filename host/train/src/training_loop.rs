//! The training loop: epochs of steps, a validation and a checkpoint after each, early stopping.

use crate::events::{Epoch, RunEvent};
use crate::optimization::{Optimization, RunLength, moment};
use crate::progress::Progress;
use crate::strategy::Strategy;
use crate::trainer::{Ended, Outcome, Trainer};
use cvhost::error::Result;
use cvhost_plugin_api::sdk::Event;
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// A training in progress.
pub(crate) struct TrainingLoop<'t, 'a, S> {
    pub trainer: Trainer<'a, S>,
    pub optimization: Optimization,
    pub length: RunLength,
    pub progress: &'t mut Progress,
}

/// What ended the steps of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EpochEnd {
    Complete,
    OutOfSteps,
    Interrupted,
}

impl<S: Strategy> TrainingLoop<'_, '_, S> {
    /// Trains to the end. Afterwards the network holds what was evaluated and saved.
    pub fn run(mut self) -> Result<Outcome> {
        self.reserve_memory();
        let ended = self.epochs()?;
        self.optimization.swap_averages();
        self.write_profile(true);
        self.finish_saving()?;
        Ok(Outcome {
            ended,
            best: self.trainer.policies.monitor.best(),
            profile: self.trainer.profile.take_report(),
        })
    }

    /// Evaluates a few batches before the first step.
    pub fn check_validation(&mut self) -> Result<()> {
        let trainer = &mut self.trainer;
        let batches = trainer.policies.training.sanity_batches as usize;
        match &trainer.data.validation {
            Some(validation) if batches > 0 => validation.check(trainer.model.network, batches),
            _ => Ok(()),
        }
    }

    fn epochs(&mut self) -> Result<Ended> {
        if self.trainer.policies.monitor.exhausted() {
            return Ok(Ended::StoppedEarly);
        }
        while self.has_work() {
            if let Some(ended) = self.epoch()? {
                return Ok(ended);
            }
        }
        Ok(Ended::Finished)
    }

    /// Whether there is something to do. A run that was stopped between its last step and the
    /// validation after it has only that validation left.
    fn has_work(&self) -> bool {
        let at = self.progress.at;
        at.epoch < self.length.epochs && (at.step < self.length.steps || !self.progress.validated)
    }

    /// The remaining steps of an epoch and its validation. Returns why the training ends after it,
    /// if it does.
    fn epoch(&mut self) -> Result<Option<Ended>> {
        self.begin_epoch()?;
        let started = Instant::now();
        let end = self.steps()?;
        let trained_for = started.elapsed();
        let metrics = match self.validate(end) {
            Ok(Some(metrics)) => metrics,
            Ok(None) => {
                self.save(None)?;
                return Ok(Some(Ended::Interrupted));
            }
            Err(error) => return Err(self.rescue(error)),
        };
        self.progress.take_validation(metrics);
        if end == EpochEnd::Complete || self.progress.at.batch >= self.trainer.data.train.batches() {
            self.progress.next_epoch();
        }
        self.report_epoch(trained_for)?;
        let stop = self.judge_and_save()?;
        Ok(match end {
            _ if stop => Some(Ended::StoppedEarly),
            EpochEnd::OutOfSteps => Some(Ended::Finished),
            _ => None,
        })
    }

    fn begin_epoch(&mut self) -> Result<()> {
        let epoch = self.progress.at.epoch;
        self.trainer.model.network.tell(&Event::EpochStart(epoch))?;
        let unfrozen = self.optimization.optimizer.begin_epoch(epoch)?;
        match unfrozen {
            0 => Ok(()),
            count => self.trainer.observers.emit(&RunEvent::Unfrozen(count)),
        }
    }

    /// The metrics of the validation after an epoch's steps, none without validation data. `None`
    /// if steps or validation were interrupted, so that a resumed run has to do them.
    fn validate(&mut self, end: EpochEnd) -> Result<Option<Map<String, Value>>> {
        if end == EpochEnd::Interrupted {
            return Ok(None);
        }
        let trainer = &mut self.trainer;
        let Some(validation) = &trainer.data.validation else {
            return Ok(Some(Map::new()));
        };
        let (network, strategy) = (&mut *trainer.model.network, &trainer.strategy);
        let moment = moment(self.progress.at, self.length.steps, strategy);
        self.optimization
            .with_averages(|_| validation.run(network, moment, strategy))
    }

    fn report_epoch(&mut self, trained_for: Duration) -> Result<()> {
        let at = self.progress.at;
        self.trainer.observers.emit(&RunEvent::Epoch(Epoch {
            epoch: at.epoch,
            epochs: self.length.epochs,
            batch: at.batch,
            step: at.step,
            learning_rate: self.optimization.schedule.rate(at.step.saturating_sub(1)),
            train_seconds: trained_for.as_secs_f64(),
            metrics: self.progress.metrics.clone(),
        }))
    }

    /// Judges the epoch by the monitored metric and saves it. Returns whether to stop early. An
    /// epoch without a value ends the run, but is saved.
    fn judge_and_save(&mut self) -> Result<bool> {
        let monitor = &mut self.trainer.policies.monitor;
        let value = match self.trainer.data.validation {
            Some(_) => monitor.value(&self.progress.metrics).map(Some),
            None => Ok(None),
        };
        let known = value.as_ref().ok().copied().flatten();
        let stop = known.is_some_and(|value| monitor.judge(value));
        let [stop] = self.trainer.strategy.any([stop])?;
        self.save(known)?;
        value.map(|_| stop)
    }

    /// A profile that can't be written is no reason to stop training.
    pub fn write_profile(&mut self, over: bool) {
        if let Err(error) = self.trainer.profile.write(over) {
            self.trainer.observers.warn(error.to_string());
        }
    }
}

//! The steps of an epoch: batches in, then what is reported and saved of them.

use crate::events::{EpochStart, RunEvent, Step};
use crate::finite::Verdict;
use crate::pace::Pace;
use crate::pending::PendingSteps;
use crate::strategy::Strategy;
use crate::training_loop::{EpochEnd, TrainingLoop};
use crate::values::StepValues;
use cvhost::error::Result;
use cvhost::interrupt;
use cvhost_data::{Batches, HostBatch};
use serde_json::{Map, Value, json};

/// What the steps of an epoch have in common.
struct EpochState {
    pending: PendingSteps,
    pace: Pace,
    /// The loss of the last step that was read.
    loss: Option<f64>,
}

impl<S: Strategy> TrainingLoop<'_, '_, S> {
    /// The remaining steps of an epoch.
    pub fn steps(&mut self) -> Result<EpochEnd> {
        if self.progress.at.step >= self.length.steps {
            return Ok(EpochEnd::OutOfSteps);
        }
        let start = RunEvent::EpochStarted(self.epoch_start());
        self.trainer.observers.emit(&start)?;
        let end = self.run_steps();
        let closed = self.trainer.observers.emit(&RunEvent::StepsEnded);
        end.and_then(|end| closed.map(|()| end))
    }

    fn epoch_start(&self) -> EpochStart {
        let at = self.progress.at;
        let training = self.trainer.policies.training;
        let batches = self.trainer.data.train.batches().saturating_sub(at.batch);
        EpochStart {
            epoch: at.epoch,
            steps: batches.div_ceil(training.accumulate as usize) as u64,
            log_every: u64::from(training.log_every_n_steps),
        }
    }

    fn run_steps(&mut self) -> Result<EpochEnd> {
        let profile = self.trainer.profile.clone();
        let at = self.progress.at;
        let mut batches = self.trainer.data.train.epoch(at.epoch, at.batch);
        let mut state = EpochState {
            pending: PendingSteps::new(self.optimization.reads_first()),
            pace: Pace::new(),
            loss: None,
        };
        loop {
            self.write_profile(false);
            let step_span = profile.step();
            let span = profile.span("load");
            let mut window = self.load(&mut batches, &mut state)?;
            drop(span);
            if window.is_empty() {
                step_span.cancel();
                self.settle(&mut state)?;
                return Ok(EpochEnd::Complete);
            }
            let rate = self.optimization.schedule.rate(self.progress.at.step);
            self.train_on(&mut window, &mut state)?;
            let span = profile.span("log");
            let [interrupted, save] = self.decide()?;
            let last = self.progress.at.step >= self.length.steps;
            self.report_step(&window, rate, interrupted || save || last, &mut state)?;
            drop(span);
            if interrupted {
                return Ok(EpochEnd::Interrupted);
            }
            if last {
                return Ok(EpochEnd::OutOfSteps);
            }
            self.announce_written()?;
            if save {
                let _span = profile.span("save");
                self.save(None)?;
            }
        }
    }

    /// The batches of the next step; none at the epoch's end. If they can't be loaded, what was
    /// trained is saved.
    fn load(&mut self, batches: &mut Batches, state: &mut EpochState) -> Result<Vec<HostBatch>> {
        let accumulate = self.trainer.policies.training.accumulate as usize;
        let loaded = state.pace.wait(|| batches.take(accumulate).collect());
        match loaded {
            Ok(window) => Ok(window),
            Err(error) => {
                self.settle(state)?;
                Err(self.rescue(error))
            }
        }
    }

    /// One optimizer step; its values are pending then.
    fn train_on(&mut self, window: &mut [HostBatch], state: &mut EpochState) -> Result<()> {
        let trainer = &mut self.trainer;
        let outcome = self.optimization.step(
            trainer.model.network,
            window,
            self.progress,
            self.length.steps,
            &trainer.profile,
            &trainer.strategy,
        );
        match outcome {
            Ok(outcome) => {
                state.pace.step();
                let images = window.iter().flat_map(|b| b.names.iter().cloned()).collect();
                let step = self.progress.at.step;
                state.pending.add(step, images, outcome.values);
                Ok(())
            }
            Err(error) => {
                // An earlier step may be the cause.
                self.settle(state)?;
                Err(error)
            }
        }
    }

    /// Whether the run is interrupted and whether a checkpoint is due, alike on all ranks.
    fn decide(&self) -> Result<[bool; 2]> {
        let trainer = &self.trainer;
        let due = trainer.policies.cadence.due(self.progress.at.step);
        trainer.strategy.any([interrupt::requested(), due])
    }

    /// Reports a step. Its values are read if they are logged, or if `read` says so.
    fn report_step(
        &mut self,
        window: &[HostBatch],
        rate: f64,
        read: bool,
        state: &mut EpochState,
    ) -> Result<()> {
        let at = self.progress.at;
        let every = u64::from(self.trainer.policies.training.log_every_n_steps);
        let log = at.step.is_multiple_of(every);
        let mut metrics = None;
        if state.pending.is_full() || log || read {
            let values = self.settle(state)?;
            state.loss = values.as_ref().map(|v| v.loss).or(state.loss);
            metrics = values
                .filter(|_| log)
                .map(|values| metrics_of(values, rate, state.pace.take()));
        }
        self.trainer.observers.emit(&RunEvent::Step(Step {
            step: at.step,
            epoch: at.epoch,
            images: window.iter().map(|b| b.metas.len()).sum(),
            learning_rate: rate,
            loss: state.loss,
            metrics,
        }))
    }

    /// Reads and judges the pending steps, and adds up their losses. Returns the last one's values.
    fn settle(&mut self, state: &mut EpochState) -> Result<Option<StepValues>> {
        let trainer = &mut self.trainer;
        let mut last = None;
        for record in state.pending.take(&trainer.strategy)? {
            match trainer.policies.non_finite.judge(&record)? {
                Verdict::Counts => self.progress.add_loss(record.values.loss),
                Verdict::Skipped(warning) => trainer.observers.warn(warning),
            }
            last = Some(record.values);
        }
        Ok(last)
    }
}

/// The metrics of a step that is logged.
fn metrics_of(values: StepValues, rate: f64, durations: Map<String, Value>) -> Map<String, Value> {
    let mut metrics = Map::new();
    metrics.insert("train_loss_step".to_owned(), json!(values.loss));
    metrics.insert("learning_rate".to_owned(), json!(rate));
    metrics.insert("gradient_norm".to_owned(), json!(values.norm));
    metrics.extend(durations);
    let parts = values.parts.into_iter();
    metrics.extend(parts.map(|(name, value)| (format!("train_{name}"), json!(value))));
    metrics
}

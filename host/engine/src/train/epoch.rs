//! The steps of an epoch: batches in, then what is told and saved of them.

use super::ema::Ema;
use super::finite::NonFinite;
use super::optimizer::{Clip, Optimizer};
use super::pace::Pace;
use super::resume::{Cadence, Standing};
use super::schedule::Schedule;
use super::step::{StepSettings, step};
use super::trainer::Trainer;
use super::values::{StepValues, Unread};
use crate::interrupt;
use crate::progress::{self, Pass};
use cvhost::config::NanPolicy;
use cvhost::error::Result;
use cvhost_data::HostBatch;
use cvhost_plugin_api::sdk::Event;
use serde_json::{Map, Value, json};
use tch::Device;

/// What the steps of an epoch work with.
pub(super) struct EpochRun<'a> {
    pub optimizer: &'a mut Optimizer,
    pub ema: &'a mut Option<Ema>,
    pub schedule: &'a Schedule,
    pub cadence: &'a mut Cadence,
    pub non_finite: &'a mut NonFinite,
    /// Steps of the whole run.
    pub total: u64,
}

/// What ended an epoch's steps.
pub(super) enum EpochEnd {
    Complete,
    OutOfSteps,
    Interrupted,
}

impl Trainer<'_> {
    /// The rest of an epoch's steps.
    pub(super) fn epoch(&mut self, run: &mut EpochRun<'_>, standing: &mut Standing) -> Result<EpochEnd> {
        let accumulate = self.training.accumulate as usize;
        let every = u64::from(self.training.log_every_n_steps);
        let label = format!("epoch {}", standing.at.epoch + 1);
        let windows = self
            .train
            .batches()
            .saturating_sub(standing.at.batch)
            .div_ceil(accumulate) as u64;
        let pass = Pass::new(&label, windows, every);
        let mut unread = Unread::new(self.reads_at_once());
        let profile = self.profile.clone();
        // Of the last step that was read.
        let mut loss = f64::NAN;
        let mut pace = Pace::new();
        let mut batches = self.train.epoch(standing.at.epoch, standing.at.batch);
        loop {
            self.write_profile(false);
            let step_span = profile.step();
            let span = profile.span("load");
            let mut window = pace.wait(|| {
                batches
                    .by_ref()
                    .take(accumulate)
                    .collect::<Result<Vec<HostBatch>>>()
            })?;
            drop(span);
            if window.is_empty() {
                step_span.cancel();
                settle(&mut unread, run.non_finite, standing)?;
                return Ok(EpochEnd::Complete);
            }
            let rate = run.schedule.rate(standing.at.step);
            let settings = StepSettings {
                step: standing.at.step,
                epoch: standing.at.epoch,
                rate,
                clip: Clip::new(self.training),
                read_first: unread.at_once(),
                profile: &profile,
            };
            let made = step(
                self.network,
                run.optimizer,
                self.scaler.as_mut(),
                &mut window,
                settings,
            )?;
            let span = profile.span("optimizer");
            standing.at.step += 1;
            standing.at.batch += window.len();
            pace.step();
            self.network.tell(&Event::StepEnd(standing.at.step))?;
            if let Some(ema) = run.ema.as_mut().filter(|_| made.changed) {
                ema.update(standing.at.step)?;
            }
            drop(span);
            let span = profile.span("log");
            let pictures: Vec<String> = window.iter().flat_map(|b| b.names.iter().cloned()).collect();
            unread.add(standing.at.step, pictures, made.values);
            let log = standing.at.step.is_multiple_of(every);
            let save = run.cadence.due(standing.at.step);
            let interrupted = interrupt::requested();
            let last = standing.at.step >= run.total;
            if unread.full() || log || save || interrupted || last {
                let values = settle(&mut unread, run.non_finite, standing)?;
                loss = values.as_ref().map_or(loss, |v| v.loss);
                if let Some(values) = values.filter(|_| log) {
                    self.log(standing.at.step, values, rate, pace.take());
                }
            }
            let pictures = window.iter().map(|b| b.metas.len()).sum();
            pass.step_of(pictures, || {
                let memory = progress::memory(self.network.device());
                format!("loss {loss:.3}  lr {rate:.1e}  {memory}")
            });
            drop(span);
            if interrupted {
                return Ok(EpochEnd::Interrupted);
            }
            if last {
                return Ok(EpochEnd::OutOfSteps);
            }
            let written = self.saver.written();
            self.tell_written(written);
            if save {
                let _span = profile.span("save");
                self.save(run.optimizer, run.ema, standing, None)?;
                run.cadence.saved();
            }
        }
    }

    /// Whether a step's values are needed before the next one. The CPU has them anyway; on a GPU waiting for them costs time, so they
    /// are read later, unless the loss scale or the policy decides by them whether the weights change.
    fn reads_at_once(&self) -> bool {
        let gpu = matches!(self.network.device(), Device::Cuda(_));
        !gpu || self.scaler.is_some() || self.training.nan_policy == NanPolicy::Skip
    }

    fn log(&mut self, step: u64, values: StepValues, rate: f64, durations: Map<String, Value>) {
        let mut logged = Map::new();
        logged.insert("train_loss_step".to_owned(), json!(values.loss));
        logged.insert("learning_rate".to_owned(), json!(rate));
        logged.insert("gradient_norm".to_owned(), json!(values.norm));
        logged.extend(durations);
        let parts = values.parts.into_iter();
        logged.extend(parts.map(|(name, value)| (format!("train_{name}"), json!(value))));
        self.loggers.metrics(step, &logged);
    }
}

/// Reads and judges the steps that are not read yet, and adds up their losses. Gives the last one's values.
fn settle(
    unread: &mut Unread,
    non_finite: &mut NonFinite,
    standing: &mut Standing,
) -> Result<Option<StepValues>> {
    let mut last = None;
    for made in unread.take()? {
        if non_finite.judge(&made)? {
            standing.add_loss(made.values.loss);
        }
        last = Some(made.values);
    }
    Ok(last)
}

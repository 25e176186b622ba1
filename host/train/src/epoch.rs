//! The steps of an epoch: batches in, then what is told and saved of them.

use super::buffers::Buffers;
use super::cadence::Cadence;
use super::ema::Ema;
use super::finite::NonFinite;
use super::optimizer::{Clip, Optimizer};
use super::pace::Pace;
use super::schedule::Schedule;
use super::standing::Standing;
use super::step::{Step, StepSettings, step};
use super::trainer::Trainer;
use super::values::{StepValues, Unread};
use cvhost::config::NanPolicy;
use cvhost::error::Result;
use cvhost::interrupt;
use cvhost::progress::Pass;
use cvhost_data::HostBatch;
use cvhost_plugin_api::sdk::Event;
use cvhost_torch::context::Moment;
use serde_json::{Map, Value, json};
use tch::Device;

/// What the steps work with, beside the network.
pub(super) struct Tools {
    pub optimizer: Optimizer,
    pub ema: Option<Ema>,
    pub schedule: Schedule,
    pub cadence: Cadence,
    pub non_finite: NonFinite,
    /// Where a step may turn out not to count: what it changes all the same.
    pub buffers: Option<Buffers>,
    /// Epochs of the whole run.
    pub epochs: u64,
    /// Steps of the whole run.
    pub total: u64,
}

/// What ended an epoch's steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EpochEnd {
    Complete,
    OutOfSteps,
    Interrupted,
}

impl Trainer<'_> {
    /// The rest of an epoch's steps.
    pub(super) fn steps(&mut self, tools: &mut Tools, standing: &mut Standing) -> Result<EpochEnd> {
        if standing.at.step >= tools.total {
            return Ok(EpochEnd::OutOfSteps);
        }
        let every = u64::from(self.training.log_every_n_steps);
        let pass = self.pass_of(standing, every);
        let accumulate = self.training.accumulate as usize;
        let profile = self.profile.clone();
        let mut batches = self.train.epoch(standing.at.epoch, standing.at.batch);
        let mut unread = Unread::new(self.reads_at_once());
        let mut pace = Pace::new();
        // Of the last step that was read.
        let mut loss = None;
        loop {
            self.write_profile(false);
            let step_span = profile.step();
            let span = profile.span("load");
            let loaded = pace.wait(|| {
                batches
                    .by_ref()
                    .take(accumulate)
                    .collect::<Result<Vec<HostBatch>>>()
            });
            drop(span);
            let mut window = match loaded {
                Ok(window) => window,
                Err(error) => {
                    settle(&mut unread, &mut tools.non_finite, standing)?;
                    return Err(self.save_before(error, tools, standing));
                }
            };
            if window.is_empty() {
                step_span.cancel();
                settle(&mut unread, &mut tools.non_finite, standing)?;
                return Ok(EpochEnd::Complete);
            }
            let rate = tools.schedule.rate(standing.at.step);
            let made = match self.one_step(tools, standing, &mut window, rate, unread.at_once()) {
                Ok(made) => made,
                Err(error) => {
                    // A step before may be the cause.
                    settle(&mut unread, &mut tools.non_finite, standing)?;
                    return Err(error);
                }
            };
            pace.step();
            let span = profile.span("log");
            let step = standing.at.step;
            let images: Vec<String> = window.iter().flat_map(|b| b.names.iter().cloned()).collect();
            unread.add(step, images, made.values);
            let log = step.is_multiple_of(every);
            let save = tools.cadence.due(step);
            let interrupted = interrupt::requested();
            let last = step >= tools.total;
            if unread.full() || log || save || interrupted || last {
                let values = settle(&mut unread, &mut tools.non_finite, standing)?;
                loss = values.as_ref().map(|v| v.loss).or(loss);
                if let Some(values) = values.filter(|_| log) {
                    self.log(step, values, rate, pace.take());
                }
            }
            let images = window.iter().map(|b| b.metas.len()).sum();
            pass.step_of(images, || {
                let memory = cvhost_torch::memory::in_use(self.network.device());
                let loss = loss.map_or_else(String::new, |loss: f64| format!("loss {loss:.3}  "));
                format!("{loss}lr {rate:.1e}  {memory}")
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
                self.save(tools, standing, None)?;
            }
        }
    }

    fn pass_of(&self, standing: &Standing, every: u64) -> Pass {
        let left = self.train.batches().saturating_sub(standing.at.batch);
        let windows = left.div_ceil(self.training.accumulate as usize) as u64;
        Pass::new(&format!("epoch {}", standing.at.epoch + 1), windows, every)
    }

    /// Forward, backward, the optimizer's step, and the averages of the weights.
    fn one_step(
        &mut self,
        tools: &mut Tools,
        standing: &mut Standing,
        window: &mut [HostBatch],
        rate: f64,
        read_first: bool,
    ) -> Result<Step> {
        let settings = StepSettings {
            moment: Moment {
                step: standing.at.step,
                epoch: standing.at.epoch,
                total_steps: tools.total,
                ..Moment::default()
            },
            rate,
            clip: Clip::new(self.training),
            read_first,
            profile: &self.profile,
        };
        if let Some(buffers) = &mut tools.buffers {
            buffers.remember()?;
        }
        let made = step(
            self.network,
            &mut tools.optimizer,
            self.scaler.as_mut(),
            window,
            settings,
        )?;
        let _span = self.profile.span("optimizer");
        if let Some(buffers) = tools.buffers.as_mut().filter(|_| !made.changed) {
            buffers.restore()?;
        }
        standing.stepped(window.len());
        self.network.tell(&Event::StepEnd(standing.at.step))?;
        if let Some(ema) = tools.ema.as_mut().filter(|_| made.changed) {
            ema.update(standing.at.step)?;
        }
        Ok(made)
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

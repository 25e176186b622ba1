//! The training loop: epochs of steps, a validation after each, checkpoints, early stopping, resume.

use super::buffers::Buffers;
use super::cadence::Cadence;
use super::ema::Ema;
use super::epoch::{EpochEnd, Tools};
use super::finite::NonFinite;
use super::monitor::Monitor;
use super::optimizer::{GroupRules, Optimizer};
use super::parameters;
use super::resume::{self, Record, Targets};
use super::scaler::Scaler;
use super::schedule::Schedule;
use super::standing::{Position, Standing};
use crate::loggers::Loggers;
use crate::profile::{Profile, Report};
use cvhost::config::{NanPolicy, TrainingConfig};
use cvhost::error::{Error, Kind, Result};
use cvhost::output;
use cvhost::progress;
use cvhost_checkpoint::background::Written;
use cvhost_checkpoint::{Saver, Snapshot, Stamp, TrainingState};
use cvhost_data::Loader;
use cvhost_plugin_api::abi::EvaluatorBox;
use cvhost_plugin_api::data::LabelSpec;
use cvhost_plugin_api::sdk::Event;
use cvhost_torch::context::Moment;
use cvhost_torch::evaluate::{EvaluateOptions, Evaluation, evaluate};
use cvhost_torch::network::Network;
use serde_json::{Map, Value, json};
use std::time::Instant;

/// Everything that a training needs, made by the command.
pub struct Trainer<'a> {
    pub network: &'a mut Network,
    pub train: Loader,
    /// Images in a batch of `train`.
    pub batch_size: u32,
    /// Of `--overfit-batches`: a run that trains on so little is not gone on with.
    pub overfit_batches: Option<u32>,
    pub val: Option<Loader>,
    /// A new evaluator for each validation.
    pub evaluator: Box<dyn Fn() -> Result<EvaluatorBox> + 'a>,
    pub finish: Value,
    /// The loss scale, where the number format needs one.
    pub scaler: Option<Scaler>,
    /// Only so many batches of each validation; none for all.
    pub val_batches: Option<usize>,
    pub monitor: Monitor,
    /// The metric that people know the task by, for the line of an epoch.
    pub headline: Option<String>,
    pub training: &'a TrainingConfig,
    pub saver: Saver,
    pub preprocessor: Value,
    /// What the model is trained for: saved with it.
    pub labels: &'a LabelSpec,
    pub loggers: &'a mut Loggers,
    /// Print events on stdout.
    pub json: bool,
    pub profile: Profile,
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
    pub best: Option<f64>,
    /// Of `--profile`.
    pub profile: Option<Report>,
}

impl Trainer<'_> {
    /// Trains until the configuration's end, an early stop or an interruption. `resume` is the state of an earlier run; `standing` says
    /// how far it came, also where it fails. `begin` is called when all is restored, before anything is computed.
    pub fn run(
        mut self,
        resume: Option<TrainingState>,
        standing: &mut Standing,
        begin: impl FnOnce(&mut Loggers) -> Result<()>,
    ) -> Result<Outcome> {
        let mut tools = if let Some(state) = resume {
            let record = Record::of(&state)?.for_batches_of(self.batch_size);
            standing.at = record.standing.at;
            let mut tools = self.tools(standing.at)?;
            *standing = self.restore(&state, record, &mut tools)?;
            begin(self.loggers)?;
            tools // The state, which may be larger than the model, isn't kept.
        } else {
            let tools = self.tools(Position::default())?;
            begin(self.loggers)?;
            self.check_validation()?;
            tools
        };
        let sizes = self.sources(&tools).sizes();
        self.saver.reserve(sizes);
        let ended = self.epochs(&mut tools, standing)?;
        // What comes after the training sees what was evaluated and saved.
        tools.ema.iter_mut().for_each(Ema::swap);
        self.write_profile(true);
        let last = self.saver.finish()?;
        self.tell_written(last);
        Ok(Outcome {
            ended,
            best: self.monitor.best(),
            profile: self.profile.take_report(),
        })
    }

    /// Optimizer, schedule and the like for a training that goes on from `at`, as the configuration wants them; tells what will be
    /// trained.
    fn tools(&self, at: Position) -> Result<Tools> {
        let training = self.training;
        let optimizer = Optimizer::new(self.network.parameters(), &GroupRules::new(training))?;
        let (batches, accumulate) = (self.train.batches(), training.accumulate as usize);
        if batches == 0 {
            return Err(no_batch());
        }
        let epochs = u64::from(training.max_epochs);
        let end = at.step + at.steps_left(epochs, batches, accumulate);
        let total = training.max_steps.unwrap_or(u64::MAX).min(end);
        // The schedule goes by the place in the training: a resumed run may have other steps an epoch than before.
        let per_epoch = batches.div_ceil(accumulate) as u64;
        let shift = (epochs * per_epoch) as i64 - end as i64;
        let schedule = Schedule::new(training, total.saturating_add_signed(shift), per_epoch);
        progress::note(&format!(
            "{}\ntraining {} of {} numbers, {total} steps in {epochs} epochs",
            parameters::table(self.network.parameters(), &optimizer, training.learning_rate),
            optimizer.trained_parameters(),
            self.network.size()
        ));
        let (warmup, place) = (schedule.warmup(), total.saturating_add_signed(shift));
        if warmup >= place && self.val_batches.is_none() {
            tracing::warn!(
                "`training.warmup` is {warmup} steps, and the training has {place}: the learning rate rises until its end"
            );
        }
        let ema = training.ema.numbers();
        let may_skip = self.scaler.is_some() || training.nan_policy == NanPolicy::Skip;
        Ok(Tools {
            optimizer,
            ema: ema
                .map(|numbers| Ema::new(self.network.parameters(), numbers))
                .transpose()?,
            schedule: schedule.shifted(shift),
            cadence: Cadence::new(training),
            non_finite: NonFinite::new(training.nan_policy),
            buffers: may_skip
                .then(|| Buffers::of(self.network.parameters()))
                .transpose()?,
            epochs,
            total,
        })
    }

    fn restore(&mut self, state: &TrainingState, record: Record, tools: &mut Tools) -> Result<Standing> {
        let targets = Targets {
            optimizer: &mut tools.optimizer,
            ema: tools.ema.as_mut(),
            scaler: self.scaler.as_mut(),
            monitor: &mut self.monitor,
        };
        resume::restore(state, record, self.network.device(), targets)
    }

    /// Epoch after epoch, each with its validation. A run that was stopped between its last step and the validation after it has only
    /// that to do.
    fn epochs(&mut self, tools: &mut Tools, standing: &mut Standing) -> Result<Ended> {
        if self.monitor.exhausted() {
            return Ok(Ended::StoppedEarly);
        }
        while standing.at.epoch < tools.epochs && (standing.at.step < tools.total || !standing.validated) {
            self.network.tell(&Event::EpochStart(standing.at.epoch))?;
            let unfrozen = tools.optimizer.begin_epoch(standing.at.epoch)?;
            if unfrozen > 0 {
                progress::note(&format!("{unfrozen} more numbers are trained from this epoch on"));
            }
            let started = Instant::now();
            let end = self.steps(tools, standing)?;
            let trained_for = started.elapsed();
            let metrics = match self.metrics_after(end, standing.at, &mut tools.ema) {
                Ok(Some(metrics)) => metrics,
                Ok(None) => {
                    self.save(tools, standing, None)?;
                    return Ok(Ended::Interrupted);
                }
                Err(error) => return Err(self.save_before(error, tools, standing)),
            };
            standing.take_validation(metrics);
            if end == EpochEnd::Complete || standing.at.batch >= self.train.batches() {
                standing.next_epoch();
            }
            self.tell_epoch(tools, standing, trained_for.as_secs_f64());
            let value = match self.val {
                Some(_) => self.monitor.value(&standing.metrics).map(Some),
                None => Ok(None),
            };
            let known = value.as_ref().ok().copied().flatten();
            let stop = known.is_some_and(|value| self.monitor.judge(value));
            self.save(tools, standing, known)?;
            value?; // An epoch without a value ends the run, but is not lost.
            if stop {
                return Ok(Ended::StoppedEarly);
            }
            if end == EpochEnd::OutOfSteps {
                break;
            }
        }
        Ok(Ended::Finished)
    }

    /// What the validation after an epoch's steps measures, nothing where there is none; `None` if steps or validation were interrupted,
    /// so that a resumed run still has them to do.
    fn metrics_after(
        &mut self,
        end: EpochEnd,
        at: Position,
        ema: &mut Option<Ema>,
    ) -> Result<Option<Map<String, Value>>> {
        if end == EpochEnd::Interrupted {
            return Ok(None);
        }
        match self.validate(at, ema) {
            Err(e) if e.kind == Kind::Interrupted => Ok(None),
            validation => Ok(Some(validation?.map(|v| v.named("val")).unwrap_or_default())),
        }
    }

    /// A profile that can't be written is no reason to stop training.
    pub(super) fn write_profile(&self, over: bool) {
        if let Err(error) = self.profile.write(over) {
            tracing::warn!("{error}");
        }
    }

    /// Evaluates a few batches before the first step, so that a fault of evaluator, metric or validation data is found at once.
    fn check_validation(&mut self) -> Result<()> {
        let batches = self.training.sanity_batches as usize;
        let (Some(loader), true) = (&self.val, batches > 0) else {
            return Ok(());
        };
        let options = EvaluateOptions {
            label: "check",
            moment: Moment::default(),
            finish: &self.finish,
            max_batches: Some(batches),
            each: None,
        };
        evaluate(self.network, loader, (self.evaluator)()?, options)
            .map(|_| ())
            .map_err(|e| e.within("the check of the validation before training"))
    }

    /// Evaluates the averaged weights where there are any.
    fn validate(&mut self, at: Position, ema: &mut Option<Ema>) -> Result<Option<Evaluation>> {
        ema.iter_mut().for_each(Ema::swap);
        let evaluation = self.evaluate_all(at);
        ema.iter_mut().for_each(Ema::swap);
        evaluation
    }

    fn evaluate_all(&mut self, at: Position) -> Result<Option<Evaluation>> {
        let Some(loader) = &self.val else {
            return Ok(None);
        };
        let options = EvaluateOptions {
            label: "validate",
            moment: Moment {
                step: at.step,
                epoch: at.epoch,
                ..Moment::default()
            },
            finish: &self.finish,
            max_batches: self.val_batches,
            each: None,
        };
        evaluate(self.network, loader, (self.evaluator)()?, options).map(Some)
    }

    fn tell_epoch(&mut self, tools: &Tools, standing: &Standing, seconds: f64) {
        let Standing { at, metrics, .. } = standing;
        let epochs = tools.epochs;
        self.loggers.metrics(at.step, metrics);
        if self.json {
            let fields = json!({
                "epoch": at.epoch,
                "epochs": epochs,
                "steps": at.step,
                "learning_rate": tools.schedule.rate(at.step.saturating_sub(1)),
                "train_seconds": seconds,
                "metrics": metrics,
            });
            output::event("epoch", fields);
        }
        let value = |name: &str| metrics.get(name).and_then(Value::as_f64);
        let part = if at.batch > 0 {
            format!(" + {} batches", at.batch)
        } else {
            String::new()
        };
        let mut line = format!("epoch {}/{epochs}{part}", at.epoch);
        let monitored = Some(self.monitor.metric.as_str());
        let mut names = vec!["train_loss", "val_loss"];
        for name in self.headline.as_deref().into_iter().chain(monitored) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        for name in names {
            if let Some(v) = value(name) {
                line += &format!("  {name} {v:.4}");
            }
        }
        progress::note(&format!("{line}  {seconds:.1} s"));
    }

    /// Copies a checkpoint and hands it to the saver; `value` is the monitored metric's after a complete epoch.
    pub(super) fn save(&mut self, tools: &mut Tools, standing: &Standing, value: Option<f64>) -> Result<()> {
        let loggers = self.loggers.ask_state();
        let started = Instant::now();
        let (memory, written) = self.saver.memory();
        self.tell_written(written);
        let stamp = Stamp {
            epoch: standing.at.epoch,
            step: standing.at.step,
            value,
        };
        tools.ema.iter_mut().for_each(Ema::swap);
        let copied = self.sources(tools).copy(standing, memory);
        tools.ema.iter_mut().for_each(Ema::swap);
        let (model, state) = copied?;
        self.saver.save(Snapshot {
            stamp,
            model,
            state,
            complete: Box::new(move |json| json["loggers"] = loggers.wait()),
            waited: started.elapsed(),
        });
        tools.cadence.saved();
        Ok(())
    }

    /// Saves what was trained before something other than the training failed, so that nothing is lost when that is mended. Gives the
    /// error again.
    pub(super) fn save_before(&mut self, error: Error, tools: &mut Tools, standing: &Standing) -> Error {
        if standing.at.step == 0 || standing.validated {
            return error; // The checkpoint of this step is there, and knows its metric.
        }
        let saved = self
            .save(tools, standing, None)
            .and_then(|()| self.saver.finish());
        match saved {
            Ok(written) => {
                self.tell_written(written);
                progress::note(&format!(
                    "the training is saved up to step {}; --resume goes on from there",
                    standing.at.step
                ));
            }
            Err(also) => tracing::warn!("what was trained can't be saved: {also}"),
        }
        error
    }

    fn sources<'b>(&'b self, tools: &'b Tools) -> resume::Sources<'b> {
        resume::Sources {
            network: self.network,
            optimizer: &tools.optimizer,
            ema: tools.ema.as_ref(),
            scaler: self.scaler.as_ref(),
            monitor: &self.monitor,
            preprocessor: &self.preprocessor,
            labels: self.labels,
            batch_size: self.batch_size,
            overfit_batches: self.overfit_batches,
        }
    }

    pub(super) fn tell_written(&self, written: Option<Written>) {
        let Some(written) = written else { return };
        tracing::debug!("saved {}", written.path.display());
        if self.json {
            let fields = json!({
                "path": written.path,
                "epoch": written.stamp.epoch,
                "step": written.stamp.step,
                "is_best": written.is_best,
                "waited_seconds": written.waited.as_secs_f64(),
                "written_in_seconds": written.written_in.as_secs_f64(),
            });
            output::event("checkpoint", fields);
        }
    }
}

/// A training without a single batch: there are fewer images than one takes, and `last_batch` drops what is left over.
pub(super) fn no_batch() -> Error {
    Error::input("the training data has no batch")
        .with_help("lower data.batch_size, or set data.last_batch to keep")
}

//! The training loop: epochs of steps, a validation after each, checkpoints, early stopping, resume.

use super::monitor::Monitor;
use super::optimizer::{GroupRules, Optimizer};
use super::schedule::Schedule;
use super::step::{StepResult, StepSettings, StepValues, step};
use crate::checkpoint::{Checkpoints, ModelParts, Stamp, TrainingState, labels};
use crate::evaluate::{EvaluateOptions, Evaluation, evaluate};
use crate::interrupt;
use crate::loggers::Loggers;
use crate::network::Network;
use crate::progress::{self, Pass};
use crate::shim;
use cvhost::config::TrainingConfig;
use cvhost::error::{Error, Kind, Result};
use cvhost::output;
use cvhost_data::{HostBatch, Loader};
use cvhost_plugin_api::abi::EvaluatorBox;
use cvhost_plugin_api::data::LabelSpec;
use cvhost_plugin_api::sdk::Event;
use serde_json::{Map, Value, json};
use std::time::Instant;

/// Everything that a training needs, made by the verb.
pub struct Trainer<'a> {
    pub network: &'a mut Network,
    pub train: Loader,
    pub val: Option<Loader>,
    /// A new evaluator for each validation.
    pub evaluator: Box<dyn Fn() -> Result<EvaluatorBox> + 'a>,
    pub finish: Value,
    pub monitor: Monitor,
    /// The metric that people know the task by, for the line of an epoch.
    pub headline: Option<String>,
    pub training: &'a TrainingConfig,
    pub checkpoints: Checkpoints,
    pub preprocessor: Value,
    /// What the model is trained for: saved with it.
    pub labels: &'a LabelSpec,
    pub loggers: &'a mut Loggers,
    /// Print events on stdout.
    pub json: bool,
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
    pub steps: u64,
    pub epochs: u64,
    /// The last validation's metrics.
    pub metrics: Map<String, Value>,
    pub best: Option<f64>,
}

/// Where in the run the next step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Position {
    epoch: u64,
    /// Batches of this epoch that are done.
    batch: usize,
    step: u64,
}

/// What ended an epoch's steps.
enum EpochEnd {
    Complete,
    OutOfSteps,
    Interrupted,
}

impl Trainer<'_> {
    /// Trains until the configuration's end, an early stop or an interruption. `resume` is the state of an earlier run.
    pub fn run(mut self, resume: Option<&TrainingState>) -> Result<Outcome> {
        let rules = GroupRules {
            weight_decay: self.training.weight_decay,
            backbone_lr_scale: self.training.backbone_lr_scale,
            freeze: self.training.freeze.clone(),
        };
        let mut optimizer = Optimizer::new(self.network.parameters(), &rules)?;
        if let Some(pattern) = optimizer.unmatched_patterns.first() {
            return Err(Error::usage(format!(
                "`training.freeze`: `{pattern}` matches no trainable parameter"
            ))
            .with_help("patterns match names of model.safetensors, with `*` for anything"));
        }
        let per_epoch = self.train.batches().div_ceil(self.training.accumulate as usize) as u64;
        let epochs = u64::from(self.training.max_epochs);
        let total = self
            .training
            .max_steps
            .unwrap_or(u64::MAX)
            .min(epochs * per_epoch);
        let schedule = Schedule::new(self.training, total, per_epoch);
        progress::note(&format!(
            "training {} of {} numbers, {total} steps in {epochs} epochs",
            optimizer.trained_numbers(),
            self.network.size()
        ));
        let mut at = Position::default();
        let mut metrics = Map::new();
        if let Some(state) = resume {
            at = self.restore(state, &mut optimizer)?;
        }
        let mut ended = Ended::Finished;
        while at.epoch < epochs && at.step < total {
            self.network.tell(&Event::EpochStart(at.epoch))?;
            let started = Instant::now();
            let (mean_loss, end) = self.epoch(&mut optimizer, &schedule, &mut at, total)?;
            if matches!(end, EpochEnd::Interrupted) {
                ended = Ended::Interrupted;
                self.save(&optimizer, at, None)?;
                break;
            }
            let trained_for = started.elapsed();
            let validation = match self.validate(at) {
                Err(e) if e.kind == Kind::Interrupted => {
                    // All steps of the epoch are done, its validation isn't: a resumed run begins with that.
                    ended = Ended::Interrupted;
                    self.save(&optimizer, at, None)?;
                    break;
                }
                other => other?,
            };
            if matches!(end, EpochEnd::Complete) || at.batch >= self.train.batches() {
                (at.epoch, at.batch) = (at.epoch + 1, 0);
            }
            metrics = validation.map(|v| v.named("val")).unwrap_or_default();
            if mean_loss.is_finite() {
                metrics.insert("train_loss".to_owned(), json!(mean_loss));
            }
            let verdict = match self.val {
                Some(_) => Some(self.monitor.value(&metrics)?),
                None => None,
            };
            let stop = verdict.is_some_and(|value| self.monitor.judge(value).stop);
            self.save(&optimizer, at, verdict)?;
            self.tell_epoch(
                at,
                epochs,
                &metrics,
                schedule.rate(at.step.saturating_sub(1)),
                trained_for.as_secs_f64(),
            );
            if stop {
                ended = Ended::StoppedEarly;
                break;
            }
            if matches!(end, EpochEnd::OutOfSteps) {
                break;
            }
        }
        Ok(Outcome {
            ended,
            steps: at.step,
            epochs: at.epoch,
            metrics,
            best: self.monitor.best(),
        })
    }

    /// The rest of an epoch's steps; gives their mean loss.
    fn epoch(
        &mut self,
        optimizer: &mut Optimizer,
        schedule: &Schedule,
        at: &mut Position,
        total: u64,
    ) -> Result<(f64, EpochEnd)> {
        let accumulate = self.training.accumulate as usize;
        let every = u64::from(self.training.log_every_n_steps);
        let label = format!("epoch {}", at.epoch + 1);
        let windows = self.train.batches().saturating_sub(at.batch).div_ceil(accumulate) as u64;
        let pass = Pass::new(&label, windows, every);
        let (mut sum, mut count) = (0.0, 0u64);
        let mut batches = self.train.epoch(at.epoch, at.batch);
        loop {
            let mut window = batches
                .by_ref()
                .take(accumulate)
                .collect::<Result<Vec<HostBatch>>>()?;
            if window.is_empty() {
                return Ok((sum / count as f64, EpochEnd::Complete));
            }
            let rate = schedule.rate(at.step);
            let settings = StepSettings {
                step: at.step,
                epoch: at.epoch,
                rate,
                clip: self.training.gradient_clip.filter(|c| *c > 0.0),
            };
            let result = step(self.network, optimizer, &mut window, settings)?;
            at.step += 1;
            at.batch += window.len();
            self.network.tell(&Event::StepEnd(at.step))?;
            let StepValues { loss, parts, norm } = read_finite(&result, *at, &window)?;
            sum += loss;
            count += 1;
            pass.step(|| format!("loss {loss:.3}  lr {rate:.1e}"));
            if at.step.is_multiple_of(every) {
                let mut values = Map::new();
                values.insert("train_loss_step".to_owned(), json!(loss));
                values.insert("learning_rate".to_owned(), json!(rate));
                values.insert("gradient_norm".to_owned(), json!(norm));
                values.extend(
                    parts
                        .into_iter()
                        .map(|(name, value)| (format!("train_{name}"), json!(value))),
                );
                self.loggers.metrics(at.step, &values);
            }
            if interrupt::requested() {
                return Ok((sum / count as f64, EpochEnd::Interrupted));
            }
            if at.step >= total {
                return Ok((sum / count as f64, EpochEnd::OutOfSteps));
            }
        }
    }

    fn validate(&mut self, at: Position) -> Result<Option<Evaluation>> {
        let Some(loader) = &self.val else {
            return Ok(None);
        };
        let options = EvaluateOptions {
            label: "validate",
            step: at.step,
            epoch: at.epoch,
            finish: self.finish.clone(),
            each: None,
        };
        evaluate(self.network, loader, (self.evaluator)()?, options).map(Some)
    }

    fn tell_epoch(
        &mut self,
        at: Position,
        epochs: u64,
        metrics: &Map<String, Value>,
        rate: f64,
        seconds: f64,
    ) {
        self.loggers.metrics(at.step, metrics);
        if self.json {
            let fields = json!({
                "epoch": at.epoch,
                "epochs": epochs,
                "steps": at.step,
                "learning_rate": rate,
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

    /// Saves a checkpoint; `value` is the monitored metric's after a complete epoch.
    fn save(&mut self, optimizer: &Optimizer, at: Position, value: Option<f64>) -> Result<()> {
        let mut config = self.network.config()?;
        labels::remember(&mut config, self.labels);
        let parts = ModelParts {
            parameters: self.network.parameters(),
            config: &config,
            preprocessor: Some(&self.preprocessor),
        };
        let mut tensors = optimizer.state();
        tensors.push(("rng.cpu".to_owned(), shim::rng_state()?));
        let json = json!({
            "epoch": at.epoch,
            "batch": at.batch,
            "step": at.step,
            "monitor": self.monitor.state(),
            "loggers": self.loggers.state(),
        });
        let state = TrainingState { tensors, json };
        let saved = self.checkpoints.save(
            Stamp {
                epoch: at.epoch,
                step: at.step,
                value,
            },
            &parts,
            Some(&state),
        )?;
        for warning in &saved.warnings {
            tracing::warn!("{warning}");
        }
        tracing::debug!("saved {}", saved.path.display());
        Ok(())
    }

    fn restore(&mut self, state: &TrainingState, optimizer: &mut Optimizer) -> Result<Position> {
        optimizer.restore(&state.tensors)?;
        if let Some((_, rng)) = state.tensors.iter().find(|(name, _)| name == "rng.cpu") {
            shim::set_rng_state(rng)?;
        }
        self.monitor.restore(&state.json["monitor"]);
        let number = |key: &str| state.json[key].as_u64().unwrap_or(0);
        let at = Position {
            epoch: number("epoch"),
            batch: number("batch") as usize,
            step: number("step"),
        };
        progress::note(&format!(
            "resuming after step {} in epoch {}",
            at.step,
            at.epoch + 1
        ));
        Ok(at)
    }
}

/// The step's values; a loss that is not a number ends the run with the pictures named, before it spoils a checkpoint.
fn read_finite(result: &StepResult, at: Position, window: &[HostBatch]) -> Result<StepValues> {
    let values = result.read();
    if values.loss.is_finite() {
        return Ok(values);
    }
    let loss = values.loss;
    let pictures = window.iter().flat_map(|b| b.names.iter().cloned()).collect();
    let parts: Vec<String> = values
        .parts
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    Err(Error::failed(format!(
        "the loss is {loss} in step {}: {}",
        at.step,
        parts.join(", ")
    ))
    .with_details(pictures)
    .with_help(
        "lower training.learning_rate, set training.gradient_clip, or look at these pictures' annotations",
    ))
}

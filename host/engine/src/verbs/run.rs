//! `cvhost run`: train a model.

use super::find_lr::find_lr;
use super::prepare::{Data, Ready, prepare};
use super::resumed::{Resumed, checkpoint_root};
use crate::checkpoint::{Checkpoints, Keep, ModelFolder, Saver, TrainingState};
use crate::evaluate::{EvaluateOptions, evaluate};
use crate::loggers::Loggers;
use crate::plugins::Registry;
use crate::profile::Profile;
use crate::progress;
use crate::run_folder::RunFolder;
use crate::session::{Model, Session, shown};
use crate::train::monitor::Monitor;
use crate::train::{Ended, Outcome, Record, Standing, Trainer};
use crate::visual::Gallery;
use cvhost::cli::{Global, RunArgs};
use cvhost::error::{Error, Kind, Result};
use cvhost::output;
use cvhost::plugin_error::checked;
use cvhost_plugin_api::data::{RunInfo, Status};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Trains; prints the `run_finished` event whatever happens. Returns the exit code.
pub fn run(args: &RunArgs, global: &Global) -> u8 {
    if let Some(steps) = args.trial.find_lr {
        let found = find_lr(args, global, steps);
        return found.map_or_else(|error| output::error(&error, global.json), |()| 0);
    }
    let mut reached = Reached::default();
    match train(args, global, &mut reached) {
        Ok(finished) => {
            let interrupted = finished.outcome.ended == Ended::Interrupted;
            if global.json {
                output::event("run_finished", finished.event(&reached.standing));
            } else {
                output::line(&finished.text(&reached.standing));
            }
            if interrupted {
                Kind::Interrupted.exit_code()
            } else {
                0
            }
        }
        Err(error) => {
            let code = output::error(&error, global.json);
            if global.json {
                let status = if error.kind == Kind::Interrupted {
                    "interrupted"
                } else {
                    "failed"
                };
                output::event("run_finished", reached.event(status));
            }
            code
        }
    }
}

/// How far a run came, wherever it ended.
#[derive(Default)]
struct Reached {
    folder: Option<RunFolder>,
    standing: Standing,
}

impl Reached {
    /// The event of a run that failed.
    fn event(&self, status: &str) -> Value {
        let Standing { at, metrics, .. } = &self.standing;
        json!({
            "status": status,
            "run_dir": self.folder.as_ref().map(|folder| &folder.path),
            "steps": at.step,
            "epochs": at.epoch,
            "best": null,
            "metrics": metrics,
        })
    }
}

/// A run that came to its end.
struct Finished {
    /// Its folder is gone again.
    trial: bool,
    folder: RunFolder,
    checkpoints: PathBuf,
    monitored: String,
    outcome: Outcome,
}

fn train(args: &RunArgs, global: &Global, reached: &mut Reached) -> Result<Finished> {
    let (scratch, overrides) = trial_overrides(args)?;
    let Ready {
        session,
        data,
        mut model,
        monitor,
        resumed,
    } = prepare(args, global, &overrides)?;
    let start = resumed.as_ref().and_then(|r| r.checkpoint.clone());
    let state = start.as_deref().map(TrainingState::load).transpose()?.flatten();
    refuse_overfit(state.as_ref())?;
    let is_new = resumed.is_none();
    // Held until the run is over: two processes in one folder would delete each other's checkpoints.
    let (run, _lock) = match resumed {
        Some(Resumed { run, lock, .. }) => (run, lock),
        None => {
            let run = RunFolder::create(&session.loaded.config.output.results_dir, &session.task_name)?;
            let lock = run.lock()?;
            (run, lock)
        }
    };
    let checkpoints = checkpoint_root(&session.loaded, &run);
    let monitored = monitor.metric.clone();
    let job = Job {
        session: &session,
        data: &data,
        run: &run,
        trial: scratch.is_some(),
        json: global.json,
    };
    let mut loggers = Loggers::default();
    let start = start.zip(state);
    let trained = job.fit(&mut model, monitor, start, &mut loggers, reached);
    if is_new && reached.folder.is_none() {
        // Nothing has begun that the folder would be for. Where it can't be removed it does no harm either.
        let _ = std::fs::remove_dir_all(&run.path);
    }
    let written = trained.and_then(|outcome| {
        if outcome.ended != Ended::Interrupted && !job.trial {
            job.write_results(&mut model)?;
        }
        Ok(outcome)
    });
    let status = match &written {
        Ok(outcome) if outcome.ended == Ended::Interrupted => Status::INTERRUPTED,
        Ok(_) => Status::OK,
        Err(error) if error.kind == Kind::Interrupted => Status::INTERRUPTED,
        Err(_) => Status::FAILED,
    };
    for failure in loggers.shutdown(status) {
        tracing::warn!("{failure}");
    }
    if job.trial && written.is_ok() {
        // What was written must be readable, too.
        session.trained_model(&ModelFolder::open(&checkpoints.join("last"))?, &data.spec)?;
    }
    Ok(Finished {
        trial: job.trial,
        folder: run,
        checkpoints,
        monitored,
        outcome: written?,
    })
}

/// What a run works with and doesn't change.
struct Job<'a> {
    session: &'a Session,
    data: &'a Data,
    run: &'a RunFolder,
    /// A `--fast-dev-run`, whose folder goes with it.
    trial: bool,
    json: bool,
}

impl Job<'_> {
    /// Trains from a checkpoint's state, if there is one. `reached` has the run's folder from the moment on when there is something in it.
    fn fit(
        &self,
        model: &mut Model,
        monitor: Monitor,
        start: Option<(PathBuf, TrainingState)>,
        loggers: &mut Loggers,
        reached: &mut Reached,
    ) -> Result<Outcome> {
        let Job {
            session, data, run, ..
        } = self;
        let Reached { folder, standing } = reached;
        let training = &session.loaded.config.training;
        let keep = Keep::top_k(training.save_top_k, &monitor.metric, monitor.mode());
        let mirror = training
            .volume_checkpoint_dir
            .as_ref()
            .map(|root| root.join(run.name()));
        let checkpoints = Checkpoints::new(checkpoint_root(&session.loaded, run), mirror, keep)?;
        let unsettled = start.as_ref().map(|(newest, _)| checkpoints.settle(newest));
        for line in checkpoints.cleaned.iter().chain(unsettled.iter().flatten()) {
            tracing::warn!("{line}");
        }
        let config = session.evaluator_config(false);
        let sizes = session.input_sizes(&model.input, &data.folder, &data.spec)?;
        let train = session.train_loader(data.train.clone(), &model.input, sizes)?;
        let profile = session.trial.profile.map_or_else(Profile::default, |steps| {
            Profile::of_first_steps(steps, session.device, run.path.join("trace.json"))
        });
        profile.watch(train.timings());
        let trainer = Trainer {
            batch_size: session.batch_size(),
            overfit_batches: session.trial.overfit_batches,
            train,
            val: data
                .val
                .as_ref()
                .map(|val| session.eval_loader(val.clone(), &model.input))
                .transpose()?,
            evaluator: Box::new(|| checked(session.task.evaluator(&data.spec, config.as_str().into()))),
            finish: session.finish_options(0.0),
            monitor,
            scaler: model.network.format().scaler(),
            val_batches: session.trial.fast_dev_run.map(|n| n as usize),
            headline: session.metrics().first().map(|m| format!("val_{}", m.name)),
            training,
            saver: Saver::new(checkpoints)?,
            preprocessor: model.preprocessor()?,
            labels: &data.spec,
            loggers,
            json: self.json,
            profile,
            network: &mut model.network,
        };
        let state = start.map(|(_, state)| state);
        let states = state.as_ref().map(|state| state.json["loggers"].clone());
        let begin = |loggers: &mut Loggers| self.begin(states.as_ref(), loggers, folder);
        trainer.run(state, standing, begin)
    }

    /// Everything is ready and restored: the run has a configuration and loggers now.
    fn begin(
        &self,
        states: Option<&Value>,
        loggers: &mut Loggers,
        folder: &mut Option<RunFolder>,
    ) -> Result<()> {
        *folder = Some(self.run.clone());
        self.run.write_config(&self.session.loaded.to_yaml())?;
        progress::note(&format!("run folder {}", shown(&self.run.path)));
        if !self.trial {
            self.start_loggers(states, loggers);
        }
        Ok(())
    }

    /// Starts the loggers that the configuration names, and those that are on by default, with the states that a checkpoint has of them.
    fn start_loggers(&self, states: Option<&Value>, loggers: &mut Loggers) {
        let Job { session, run, .. } = self;
        let sections = session.loaded.config.loggers.clone();
        let mut names = default_loggers(&session.registry);
        names.extend(
            sections
                .keys()
                .filter(|name| !names.contains(name))
                .cloned()
                .collect::<Vec<_>>(),
        );
        for name in names {
            let section = sections.get(&name).cloned().unwrap_or_else(|| json!({}));
            if section == Value::Bool(false) {
                continue;
            }
            let info = RunInfo {
                name: run.name(),
                folder: run.path.display().to_string(),
                config: section,
                parameters: session.loaded.to_json(),
            };
            let resume = states.map_or_else(|| json!({}), |states| states[&name].clone());
            match session.registry.logger(&name) {
                Ok((logger, _)) => loggers.start(&name, logger, &info, &resume),
                Err(e) => tracing::warn!("logger `{name}` is off: {e}"),
            }
        }
        loggers.parameters(&session.loaded.to_json());
    }

    /// Predictions and pictures of the validation data with the final weights, where they are asked for.
    fn write_results(&self, model: &mut Model) -> Result<()> {
        let Job {
            session, data, run, ..
        } = self;
        let config = &session.loaded.config.output;
        let Some(val) = data
            .val
            .as_ref()
            .filter(|_| config.save_predictions || config.visualization.save_images)
        else {
            return Ok(());
        };
        let loader = session.eval_loader(val.clone(), &model.input)?;
        let evaluator_config = session.evaluator_config(config.save_predictions);
        let evaluator = checked(
            session
                .task
                .evaluator(&data.spec, evaluator_config.as_str().into()),
        )?;
        let mut gallery = Gallery::new(session, &data.spec, val.as_ref(), Some(run.path.join("pictures")));
        let mut each = |index, _: &_, prediction: &_| gallery.add(index, prediction);
        let options = EvaluateOptions {
            label: "results",
            step: 0,
            epoch: 0,
            finish: session.finish_options(0.0),
            most: None,
            each: Some(&mut each),
        };
        let evaluation = evaluate(&mut model.network, &loader, evaluator, options)?;
        gallery.finish();
        evaluation.write_artifacts(&run.path)?;
        evaluation.write_report("val", val.as_ref(), &run.path)?;
        Ok(())
    }
}

/// A run of `--overfit-batches` goes on with all pictures, if it is resumed: that is neither the one nor the other.
fn refuse_overfit(state: Option<&TrainingState>) -> Result<()> {
    let record = state.map(Record::of).transpose()?;
    let Some(batches) = record.and_then(|record| record.overfit_batches) else {
        return Ok(());
    };
    Err(Error::usage(format!(
        "--resume: the run trained on its first {batches} batches alone (--overfit-batches)"
    ))
    .with_expected("a run of all pictures")
    .with_help("start without --resume, or name another run's folder: --resume=DIR"))
}

/// The overrides of a run, and the folder that a `--fast-dev-run` works in and that goes with it.
fn trial_overrides(args: &RunArgs) -> Result<(Option<tempfile::TempDir>, Vec<String>)> {
    let mut overrides = args.overrides.clone();
    let Some(steps) = args.trial.fast_dev_run else {
        return Ok((None, overrides));
    };
    let folder = tempfile::tempdir()
        .map_err(|e| Error::io(Kind::Environment, "create a folder in", &std::env::temp_dir(), &e))?;
    overrides.extend([
        format!("training.max_steps={steps}"),
        "training.max_epochs=1".to_owned(),
        "training.sanity_batches=0".to_owned(),
        "training.log_every_n_steps=1".to_owned(),
        "training.checkpoint_dir=null".to_owned(),
        "training.volume_checkpoint_dir=null".to_owned(),
        format!("output.results_dir={}", folder.path().display()),
    ]);
    Ok((Some(folder), overrides))
}

fn default_loggers(registry: &Registry) -> Vec<String> {
    let loggers = registry.catalogue().components("logger");
    loggers
        .filter(|(_, component)| component.default)
        .map(|(_, component)| component.name.clone())
        .collect()
}

impl Finished {
    fn event(&self, standing: &Standing) -> Value {
        let status = if self.outcome.ended == Ended::Interrupted {
            "interrupted"
        } else {
            "ok"
        };
        let best = self
            .outcome
            .best
            .map(|value| json!({"metric": self.monitored, "value": value}));
        let mut event = json!({
            "status": status,
            "run_dir": self.folder.path,
            "checkpoint_dir": self.checkpoints,
            "stopped_early": self.outcome.ended == Ended::StoppedEarly,
            "steps": standing.at.step,
            "epochs": standing.at.epoch,
            "best": best,
            "metrics": standing.metrics,
        });
        if let Some(profile) = &self.outcome.profile {
            event["profile"] = profile.event();
        }
        event
    }

    fn text(&self, standing: &Standing) -> String {
        let how = match self.outcome.ended {
            Ended::Finished => "finished",
            Ended::StoppedEarly => "stopped early: no better value for the configured number of epochs",
            Ended::Interrupted if self.trial => "interrupted",
            Ended::Interrupted => "interrupted; go on with `cvhost run --resume …`",
        };
        let mut text = format!(
            "{how} after {}, {}",
            counted(standing.at.epoch, "epoch"),
            counted(standing.at.step, "step")
        );
        if let Some(best) = self.outcome.best {
            text += &format!("\nbest {} {best:.4}", self.monitored);
        }
        if self.trial {
            let result = match self.outcome.ended {
                Ended::Interrupted => "not everything was tried",
                _ => "everything works",
            };
            return text + &format!("\n{result}; nothing was left behind");
        }
        text += &format!("\nrun folder   {}", shown(&self.folder.path));
        text += &format!("\ncheckpoints  {}", shown(&self.checkpoints));
        if let Some(profile) = &self.outcome.profile {
            text += &format!("\ntrace        {}\n{profile}", shown(&profile.path));
        }
        text
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

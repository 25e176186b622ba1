//! The main part of `cvhost run`: trains from a checkpoint's state or from the start, with
//! observers, and writes the results.

use super::prepare::Data;
use super::resumed::checkpoint_root;
use crate::run_folder::{RunFolder, RunLock};
use crate::session::{Model, Session};
use crate::visual::{Gallery, file_name};
use cvhost::error::{Error, Result};
use cvhost::plugin_error::checked;
use cvhost::plugins::Found;
use cvhost_checkpoint::{Checkpoints, RetentionPolicy, Saver, TrainingState};
use cvhost_plugin_api::data::RunInfo;
use cvhost_torch::context::Moment;
use cvhost_torch::evaluate::{EvaluateOptions, evaluate};
use cvhost_train::events::{
    Artifact, ArtifactKind, EvaluationReport, Parameters, RunEnd, RunEvent, RunStart, RunStatus,
};
use cvhost_train::monitor::Monitor;
use cvhost_train::observers::{Loggers, Observers, missing_items};
use cvhost_train::profile::Profile;
use cvhost_train::scaler::Scaler;
use cvhost_train::strategy::Single;
use cvhost_train::{DataSide, ModelSide, Outcome, Policies, Progress, Trainer, Validation};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The progress of a run, wherever it ends.
#[derive(Default)]
pub(super) struct RunProgress {
    pub folder: Option<RunFolder>,
    /// Held until the run ends: two processes in one folder would delete each other's checkpoints.
    lock: Option<RunLock>,
    /// Whether this process has written anything into the folder.
    pub begun: bool,
    pub progress: Progress,
}

impl RunProgress {
    /// Keeps the run's folder and its lock.
    pub fn hold(&mut self, run: &RunFolder, lock: RunLock) {
        self.folder = Some(run.clone());
        self.lock = Some(lock);
    }

    /// The end event of a run with this progress.
    pub fn end(&self) -> RunEnd {
        RunEnd {
            folder: self.folder.as_ref().map(|folder| folder.path.clone()),
            steps: self.progress.at.step,
            epochs: self.progress.at.epoch,
            metrics: self.progress.metrics.clone(),
            ..RunEnd::default()
        }
    }

    /// The end event of a failed run.
    pub fn failed(&self, error: Error) -> RunEnd {
        RunEnd {
            status: RunStatus::Failed,
            error: Some(error),
            ..self.end()
        }
    }
}

/// The immutable inputs of a run.
pub(super) struct TrainingRun<'a> {
    pub session: &'a Session,
    pub data: &'a Data,
    pub run: &'a RunFolder,
    /// Whether this is a `--fast-dev-run`, whose folder is removed at the end.
    pub trial: bool,
}

impl TrainingRun<'_> {
    /// Trains, from a checkpoint's state if there is one.
    pub fn fit(
        &self,
        model: &mut Model,
        monitor: Monitor,
        start: Option<(PathBuf, TrainingState)>,
        observers: &mut Observers,
        reached: &mut RunProgress,
    ) -> Result<Outcome> {
        let checkpoints = self.checkpoints(&monitor)?;
        for line in &checkpoints.cleaned {
            observers.warn(line);
        }
        let to_settle = checkpoints.clone();
        let trainer = self.trainer(model, monitor, checkpoints, observers)?;
        let (newest, state) = start.unzip();
        let resumed = newest.zip(state.as_ref().map(|state| LoggerStates::of(&state.json)));
        let RunProgress { begun, progress, .. } = reached;
        trainer.run(state, progress, |observers| {
            *begun = true;
            for line in resumed.iter().flat_map(|(newest, _)| to_settle.settle(newest)) {
                observers.warn(line);
            }
            self.begin(resumed, observers)
        })
    }

    fn checkpoints(&self, monitor: &Monitor) -> Result<Checkpoints> {
        let loaded = &self.session.loaded;
        let training = &loaded.config.training;
        let keep = RetentionPolicy::top_k(training.save_top_k, &monitor.metric, monitor.mode());
        let mirror = training.volume_checkpoint_dir.as_ref();
        let mirror = mirror.map(|root| root.join(self.run.name()));
        Checkpoints::new(checkpoint_root(loaded, self.run), mirror, keep)
    }

    fn trainer<'t>(
        &'t self,
        model: &'t mut Model,
        monitor: Monitor,
        checkpoints: Checkpoints,
        observers: &'t mut Observers,
    ) -> Result<Trainer<'t>> {
        let TrainingRun { session, data, .. } = self;
        let sizes = session.input_sizes(&model.input, &data.folder, &data.spec)?;
        let train = session.train_loader(data.train.clone(), &model.input, sizes)?;
        let profile = session.trial.profile.map_or_else(Profile::default, |steps| {
            Profile::of_first_steps(steps, session.device, self.run.path.join("trace.json"))
        });
        profile.watch(train.timings());
        let headline = session.metrics()?.first().map(|m| format!("val_{}", m.name));
        Ok(Trainer {
            data: DataSide {
                train,
                batch_size: session.batch_size(),
                overfit_batches: session.trial.overfit_batches,
                validation: self.validation(model)?,
            },
            policies: Policies::new(&session.loaded.config.training, monitor)
                .with_headline(headline)
                .for_trial(self.trial),
            saver: Some(Saver::new(checkpoints)?),
            profile,
            observers,
            strategy: Single,
            model: ModelSide {
                scaler: Scaler::of(model.network.format()),
                preprocessor: model.preprocessor()?,
                labels: &data.spec,
                network: &mut model.network,
            },
        })
    }

    fn validation(&self, model: &Model) -> Result<Option<Validation<'_>>> {
        let TrainingRun { session, data, .. } = self;
        let Some(source) = &data.val else {
            return Ok(None);
        };
        Ok(Some(Validation {
            loader: session.eval_loader(source.clone(), &model.input)?,
            evaluator: Box::new(|| session.evaluator(&data.spec, false)),
            finish: session.finish_options(0.0),
            max_batches: session.trial.fast_dev_run.map(|n| n as usize),
        }))
    }

    /// Removes everything created for a run that never started. Errors are ignored, since leftovers
    /// are harmless.
    pub fn discard(&self) {
        let training = &self.session.loaded.config.training;
        let elsewhere = [&training.checkpoint_dir, &training.volume_checkpoint_dir];
        for root in elsewhere.into_iter().flatten() {
            let _ = std::fs::remove_dir(root.join(self.run.name()));
        }
        let _ = std::fs::remove_dir_all(&self.run.path);
    }

    /// Called once everything is ready and restored: writes the configuration to the run's folder
    /// and starts its loggers.
    fn begin(&self, resumed: Option<(PathBuf, LoggerStates)>, observers: &mut Observers) -> Result<()> {
        observers.add_first(self.run.clone());
        observers.emit(&RunEvent::RunStarted(RunStart {
            folder: self.run.path.clone(),
            config: self.session.loaded.to_yaml(),
        }))?;
        let mut loggers = Loggers::default();
        if !self.trial {
            let states = resumed.as_ref().map(|(_, states)| states);
            self.start_loggers(states, &mut loggers, observers);
        }
        observers.add_first(loggers);
        observers.emit(&RunEvent::Parameters(Parameters {
            values: self.session.loaded.to_json(),
            tags: self.tags(),
        }))?;
        match resumed {
            // The loggers' states in a checkpoint are older than the event that announced the
            // checkpoint.
            Some((path, states)) => observers.emit(&RunEvent::Artifact(Artifact {
                name: file_name(&path),
                step: states.step,
                path,
                kind: ArtifactKind::Checkpoint,
            })),
            None => Ok(()),
        }
    }

    /// Starts the loggers that the configuration names and those that are on by default, with their
    /// states from a checkpoint, if there is one.
    fn start_loggers(&self, states: Option<&LoggerStates>, loggers: &mut Loggers, observers: &mut Observers) {
        let TrainingRun { session, run, .. } = self;
        let sections = &session.loaded.config.loggers;
        for name in self.logger_names() {
            let section = sections.get(&name).cloned().unwrap_or_else(|| json!({}));
            if section == Value::Bool(false) {
                continue;
            }
            let info = RunInfo {
                name: run.name(),
                folder: run.path.display().to_string(),
                config: section,
                parameters: session.loaded.to_json(),
                extra: Value::Null,
            };
            let resume = states.map_or_else(|| json!({}), |states| states.states[&name].clone());
            match session.registry.logger(&name, &session.loaded.document) {
                Ok((logger, _)) => loggers.start(&name, logger, &info, &resume),
                Err(e) => observers.warn(format!("logger `{name}` is off: {e}")),
            }
        }
        for (name, count) in states.iter().flat_map(|states| &states.missing) {
            observers.warn(format!(
                "logger `{name}` was too slow for the checkpoint: up to {count} of its earlier items may \
                 be missing"
            ));
        }
    }

    /// The loggers that are on by default, followed by the others in the configuration.
    fn logger_names(&self) -> Vec<String> {
        let catalogue = self.session.registry.catalogue();
        let mut names: Vec<String> = catalogue
            .components("logger")
            .filter(|(_, component)| component.default)
            .map(|(_, component)| component.name.clone())
            .collect();
        let sections = self.session.loaded.config.loggers.keys();
        let more: Vec<String> = sections.filter(|name| !names.contains(name)).cloned().collect();
        names.extend(more);
        names
    }

    /// The tags of the run: task, model family, adapter, and the versions of the host and of the
    /// plugins.
    fn tags(&self) -> Map<String, Value> {
        let TrainingRun { session, data, .. } = self;
        let catalogue = session.registry.catalogue();
        let model_type = data.folder.config["model_type"].as_str().unwrap_or_default();
        let mut tags = Map::new();
        tags.insert("task".to_owned(), json!(session.task_name));
        tags.insert("model_type".to_owned(), json!(model_type));
        tags.insert("cvhost_version".to_owned(), json!(env!("CARGO_PKG_VERSION")));
        let mut add_plugin = |found: &Found| {
            if let Some(note) = &found.note {
                tags.insert(format!("plugin.{}", note.name), json!(note.version));
            }
        };
        if let Ok((found, _)) = catalogue.require("task", &session.task_name) {
            add_plugin(found);
        }
        let form = checked(session.task.form()).unwrap_or_default();
        let choice = session.loaded.config.model.adapter.as_deref();
        if let Ok((found, component)) = catalogue.adapter(&form, model_type, choice) {
            add_plugin(found);
            tags.insert("adapter".to_owned(), json!(component.name));
        }
        tags
    }

    /// Writes predictions and drawn images of the validation data with the final weights, if
    /// configured. `step` is the number of optimizer steps.
    pub fn write_results(&self, model: &mut Model, step: u64, observers: &mut Observers) -> Result<()> {
        let TrainingRun {
            session, data, run, ..
        } = self;
        let config = &session.loaded.config.output;
        let wanted = config.save_predictions || config.visualization.save_images;
        let Some(val) = data.val.as_ref().filter(|_| wanted) else {
            return Ok(());
        };
        let loader = session.eval_loader(val.clone(), &model.input)?;
        let evaluator = session.evaluator(&data.spec, config.save_predictions)?;
        let pictures = Some(run.path.join("pictures"));
        let mut gallery =
            Gallery::new(session, &data.spec, val.as_ref(), pictures).observed_by(observers, step);
        let mut each = |index, _: &_, prediction: &_| gallery.add(index, prediction);
        let options = EvaluateOptions {
            label: "results",
            moment: Moment::default(),
            finish: &session.finish_options(0.0),
            max_batches: None,
            each: Some(&mut each),
        };
        let evaluation = evaluate(&mut model.network, &loader, evaluator, options)?;
        gallery.finish()?;
        let mut files = evaluation.write_artifacts(&run.path)?;
        observers.emit(&RunEvent::Report(EvaluationReport {
            split: "val".to_owned(),
            document: evaluation.document("val", val.as_ref()),
        }))?;
        files.push(run.report());
        files.iter().try_for_each(|path| emit_file(path, step, observers))
    }
}

fn emit_file(path: &Path, step: u64, observers: &mut Observers) -> Result<()> {
    observers.emit(&RunEvent::Artifact(Artifact {
        name: file_name(path),
        step,
        path: path.to_owned(),
        kind: ArtifactKind::File,
    }))
}

/// The state of the loggers in a checkpoint.
struct LoggerStates {
    states: Value,
    /// Loggers that may lack items from before the checkpoint, and how many.
    missing: Vec<(String, u64)>,
    /// Completed optimizer steps.
    step: u64,
}

impl LoggerStates {
    /// Reads the JSON of a training state.
    fn of(json: &Value) -> Self {
        LoggerStates {
            states: json["loggers"].clone(),
            missing: missing_items(json),
            step: json["step"].as_u64().unwrap_or(0),
        }
    }
}

//! The work of a run: training from a checkpoint's state or from the start, its loggers, its results.

use super::prepare::Data;
use super::resumed::checkpoint_root;
use crate::registry::Registry;
use crate::run_folder::RunFolder;
use crate::session::{Model, Session, shown};
use crate::visual::Gallery;
use cvhost::error::Result;
use cvhost::plugin_error::checked;
use cvhost::progress;
use cvhost_checkpoint::{Checkpoints, RetentionPolicy, Saver, TrainingState};
use cvhost_plugin_api::data::RunInfo;
use cvhost_torch::context::Moment;
use cvhost_torch::evaluate::{EvaluateOptions, evaluate, write_report};
use cvhost_train::loggers::Loggers;
use cvhost_train::monitor::Monitor;
use cvhost_train::profile::Profile;
use cvhost_train::scaler::Scaler;
use cvhost_train::{Outcome, Standing, Trainer};
use serde_json::{Value, json};
use std::path::PathBuf;

/// How far a run came, wherever it ended.
#[derive(Default)]
pub(super) struct Reached {
    pub folder: Option<RunFolder>,
    /// There is something in the folder, by this process.
    pub begun: bool,
    pub standing: Standing,
}

/// What a run works with and doesn't change.
pub(super) struct Job<'a> {
    pub session: &'a Session,
    pub data: &'a Data,
    pub run: &'a RunFolder,
    /// A `--fast-dev-run`, whose folder goes with it.
    pub trial: bool,
    pub json: bool,
}

impl Job<'_> {
    /// Trains from a checkpoint's state, if there is one.
    pub fn fit(
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
        let Reached { begun, standing, .. } = reached;
        let training = &session.loaded.config.training;
        let keep = RetentionPolicy::top_k(training.save_top_k, &monitor.metric, monitor.mode());
        let mirror = training
            .volume_checkpoint_dir
            .as_ref()
            .map(|root| root.join(run.name()));
        let checkpoints = Checkpoints::new(checkpoint_root(&session.loaded, run), mirror, keep)?;
        for line in &checkpoints.cleaned {
            tracing::warn!("{line}");
        }
        let unsettled = checkpoints.clone();
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
            scaler: Scaler::of(model.network.format()),
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
        let (newest, state) = start.unzip();
        let states = state.as_ref().map(|state| state.json["loggers"].clone());
        let begin = |loggers: &mut Loggers| {
            *begun = true;
            for line in newest.iter().flat_map(|newest| unsettled.settle(newest)) {
                tracing::warn!("{line}");
            }
            self.begin(states.as_ref(), loggers)
        };
        trainer.run(state, standing, begin)
    }

    /// Removes what was made for a run that never began. What can't be removed does no harm.
    pub fn discard(&self) {
        let training = &self.session.loaded.config.training;
        let elsewhere = [&training.checkpoint_dir, &training.volume_checkpoint_dir];
        for root in elsewhere.into_iter().flatten() {
            let _ = std::fs::remove_dir(root.join(self.run.name()));
        }
        let _ = std::fs::remove_dir_all(&self.run.path);
    }

    /// Everything is ready and restored: the run has a configuration and loggers now.
    fn begin(&self, states: Option<&Value>, loggers: &mut Loggers) -> Result<()> {
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

    /// Predictions and images of the validation data with the final weights, where they are asked for.
    pub fn write_results(&self, model: &mut Model) -> Result<()> {
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
            moment: Moment::default(),
            finish: &session.finish_options(0.0),
            max_batches: None,
            each: Some(&mut each),
        };
        let evaluation = evaluate(&mut model.network, &loader, evaluator, options)?;
        gallery.finish();
        evaluation.write_artifacts(&run.path)?;
        write_report(&evaluation.document("val", val.as_ref()), &run.path)?;
        Ok(())
    }
}

fn default_loggers(registry: &Registry) -> Vec<String> {
    let loggers = registry.catalogue().components("logger");
    loggers
        .filter(|(_, component)| component.default)
        .map(|(_, component)| component.name.clone())
        .collect()
}

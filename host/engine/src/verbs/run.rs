//! `cvhost run`: train a model.

use super::find_lr::find_lr;
use crate::batch_size::End;
use crate::checkpoint::{Checkpoints, Keep, ModelFolder, Saver, TrainingState, atomic};
use crate::evaluate::{EvaluateOptions, evaluate};
use crate::loggers::Loggers;
use crate::plugins::Registry;
use crate::profile::Profile;
use crate::progress;
use crate::run_folder::{RunFolder, RunLock};
use crate::session::{Model, Session, shown};
use crate::splits::{SplitData, Splits};
use crate::train::monitor::Monitor;
use crate::train::{Ended, Outcome, Trainer};
use crate::visual::Gallery;
use cvhost::cli::{Global, ResumeFrom, RunArgs, Split};
use cvhost::config::show::BLANK;
use cvhost::config::{Draft, Loaded, OutputConfig};
use cvhost::error::{Error, Kind, Result};
use cvhost::output;
use cvhost::plugin_error::checked;
use cvhost_data::{Part, Source};
use cvhost_plugin_api::data::{LabelSpec, RunInfo, Status};
use serde_json::{Value, json};
use std::sync::Arc;

/// Trains; prints the `run_finished` event whatever happens. Returns the exit code.
pub fn run(args: &RunArgs, global: &Global) -> u8 {
    if let Some(steps) = args.trial.find_lr {
        let found = find_lr(args, global, steps);
        return found.map_or_else(|error| output::error(&error, global.json), |()| 0);
    }
    let mut folder = None;
    match train(args, global, &mut folder) {
        Ok(finished) => {
            let interrupted = finished.outcome.ended == Ended::Interrupted;
            if global.json {
                output::event("run_finished", finished.event());
            } else {
                output::line(&finished.text());
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
                let run_dir = folder.map(|f: RunFolder| f.path);
                let fields = json!({
                    "status": status, "run_dir": run_dir, "steps": 0, "epochs": 0, "best": null, "metrics": {},
                });
                output::event("run_finished", fields);
            }
            code
        }
    }
}

/// The model that a run starts from, its data, and what the labels mean.
pub(super) struct Data {
    pub folder: ModelFolder,
    pub train: Arc<dyn Source>,
    val: Option<Arc<dyn Source>>,
    pub spec: LabelSpec,
}

/// A run that came to its end.
struct Finished {
    /// Its folder is gone again.
    trial: bool,
    folder: RunFolder,
    checkpoints: std::path::PathBuf,
    monitored: String,
    outcome: Outcome,
}

/// Everything that a training begins with; nothing is written yet.
pub(super) struct Ready {
    pub session: Session,
    pub data: Data,
    pub model: Model,
    monitor: Monitor,
    resumed: Option<Resumed>,
}

/// Configuration, plugins, data and the model with its weights, those of a resumed run's checkpoint where there is one; finds the
/// batch size where it is left to be found.
pub(super) fn prepare(args: &RunArgs, global: &Global, overrides: &[String]) -> Result<Ready> {
    let resume = args
        .resume
        .as_ref()
        .map(|from| which_run(from, args))
        .transpose()?;
    let draft = match (&args.config, &resume) {
        (Some(file), _) => Draft::read(file, overrides)?,
        (None, Some(ResumeFrom::Folder(run))) => own_draft(&RunFolder::existing(run)?, overrides)?,
        (None, _) => return Err(Error::usage("--config is missing")), // the command line's rules keep this out
    };
    let mut session = Session::open(global, draft, args.plugin.as_deref(), &args.plugin_file)?;
    session.trial = args.trial;
    tch::manual_seed(session.loaded.config.training.seed as i64);
    crate::interrupt::set_deadline(session.loaded.config.training.stop_within);
    crate::shim::set_deterministic(session.loaded.config.training.deterministic)?;
    let resumed = resume
        .as_ref()
        .map(|from| find_resumed(from, &session))
        .transpose()?;
    if let (None, Some(Resumed { run, .. })) = (session.loaded.config.data.batch_size.number(), &resumed) {
        // What the run found when it began: the place in the epoch counts its batches.
        if let Some(size) = run.setting("data.batch_size").filter(Value::is_u64) {
            session.loaded.decide("data.batch_size", &size)?;
        }
    }
    let start = resumed.as_ref().and_then(|r| r.checkpoint.as_deref());
    let folder = match start {
        Some(checkpoint) => ModelFolder::open(checkpoint)?,
        None => session.starting_folder()?,
    };
    let mut data = open_data(&session, folder)?;
    let monitor = Monitor::new(&session.loaded, &session.metrics(), &data.spec)?;
    let from_scratch = start.is_none() && !session.loaded.config.model.pretrained;
    let mut model = session.model(&data.folder, &data.spec, from_scratch)?;
    if !model.report.rows.is_empty() {
        progress::note(&model.report.to_string());
    }
    if session.loaded.config.data.batch_size.number().is_none() {
        let sizes = session.input_sizes(&model.input, &data.folder, &data.spec)?;
        let choice = session.find_batch_size(&mut model, &data.train, &sizes)?;
        if choice.end == End::RanOut {
            // What failed in the middle can't be trusted; its memory goes before the new one is made as it was.
            let _ = model.network.to_device(tch::Device::Cpu);
            tch::manual_seed(session.loaded.config.training.seed as i64);
            model = session.model(&data.folder, &data.spec, from_scratch)?;
        }
    }
    if let Some(batches) = session.trial.overfit_batches {
        data.keep_first(batches, session.batch_size());
    }
    Ok(Ready {
        session,
        data,
        model,
        monitor,
        resumed,
    })
}

fn train(args: &RunArgs, global: &Global, started: &mut Option<RunFolder>) -> Result<Finished> {
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
    // Held until the run is over: two processes in one folder would delete each other's checkpoints.
    let (run, _lock) = match resumed {
        Some(Resumed { run, lock, .. }) => (run, lock),
        None => {
            let run = RunFolder::create(&session.loaded.config.output.results_dir, &session.task_name)?;
            let lock = run.lock()?;
            (run, lock)
        }
    };
    *started = Some(run.clone());
    run.write_config(&session.loaded.to_yaml())?;
    progress::note(&format!("run folder {}", shown(&run.path)));
    let mut loggers = match scratch {
        Some(_) => Loggers::default(),
        None => start_loggers(&session, &run, state.as_ref()),
    };
    let trained = fit(
        &session,
        &data,
        &mut model,
        monitor.clone(),
        &run,
        state.as_ref(),
        &mut loggers,
        global.json,
    );
    let written = trained.and_then(|outcome| {
        if outcome.ended != Ended::Interrupted && scratch.is_none() {
            write_results(&session, &data, &mut model, &run)?;
        }
        Ok(outcome)
    });
    let status = match &written {
        Ok(outcome) if outcome.ended == Ended::Interrupted => Status::INTERRUPTED,
        Ok(_) => Status::OK,
        Err(_) => Status::FAILED,
    };
    for failure in loggers.shutdown(status) {
        tracing::warn!("{failure}");
    }
    let checkpoints = checkpoint_root(&session.loaded, &run);
    if scratch.is_some() && written.is_ok() {
        // What was written must be readable, too.
        session.trained_model(&ModelFolder::open(&checkpoints.join("last"))?, &data.spec)?;
    }
    Ok(Finished {
        trial: scratch.is_some(),
        folder: run,
        checkpoints,
        monitored: monitor.metric,
        outcome: written?,
    })
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

impl Data {
    /// Leaves the first batches of the training data alone, for training and validation.
    fn keep_first(&mut self, batches: u32, batch_size: u32) {
        let records = (batches as usize)
            .saturating_mul(batch_size as usize)
            .min(self.train.len());
        self.train = Arc::new(Part::new(Arc::clone(&self.train), (0..records).collect()));
        self.val = Some(Arc::clone(&self.train));
        progress::note(&format!(
            "the first {records} training pictures alone, for training and validation"
        ));
    }
}

fn open_data(session: &Session, folder: ModelFolder) -> Result<Data> {
    let classes = folder.label_names()?.unwrap_or_default();
    let splits = Splits::new(session, &classes);
    let SplitData { spec, source: train } = splits.open(Split::Train)?;
    let config = &session.loaded.config;
    if session.trial.overfit_batches.is_some() {
        return Ok(Data {
            folder,
            train,
            val: None, // a part of `train`, once the batch size is known
            spec,
        });
    }
    let val = match splits.has(Split::Val) {
        true => Some(splits.open_like(Split::Val, &spec)?.source),
        false if config.training.early_stopping_patience.is_some() => {
            return Err(session
                .loaded
                .error_at(
                    "training.early_stopping_patience",
                    "early stopping needs validation data",
                )
                .with_help(
                    "set data.val_data_path or data.val_ratio, or leave early_stopping_patience out",
                ));
        }
        false => {
            tracing::warn!(
                "neither data.val_data_path nor data.val_ratio: nothing is validated, and the last checkpoint counts as the best"
            );
            None
        }
    };
    let counts = val
        .as_ref()
        .map_or_else(String::new, |v| format!(", {} for validation", v.len()));
    progress::note(&format!(
        "{} training pictures{counts}, {} classes",
        train.len(),
        spec.names.len()
    ));
    Ok(Data {
        folder,
        train,
        val,
        spec,
    })
}

/// The run to go on with, and its newest valid checkpoint.
struct Resumed {
    run: RunFolder,
    lock: RunLock,
    checkpoint: Option<std::path::PathBuf>,
}

/// Without a configuration, which says where runs are and of which task, the newest run is that of any task.
fn which_run(from: &ResumeFrom, args: &RunArgs) -> Result<ResumeFrom> {
    if args.config.is_some() || *from != ResumeFrom::Newest {
        return Ok(from.clone());
    }
    let results = args
        .overrides
        .iter()
        .rev()
        .find_map(|text| text.strip_prefix("output.results_dir="));
    let results = results.map_or_else(|| OutputConfig::default().results_dir, Into::into);
    Ok(ResumeFrom::Folder(RunFolder::newest(&results, None)?.path))
}

/// The configuration that a run keeps, with these overrides.
fn own_draft(run: &RunFolder, overrides: &[String]) -> Result<Draft> {
    let draft = Draft::read(&run.config(), overrides)?;
    if draft.has_blanks() {
        tracing::warn!(
            "{} keeps no secrets: `{BLANK}` stands in their place; give --config or override them where they matter",
            shown(&run.config())
        );
    }
    Ok(draft)
}

fn find_resumed(from: &ResumeFrom, session: &Session) -> Result<Resumed> {
    let config = &session.loaded.config;
    let run = match from {
        ResumeFrom::Newest => RunFolder::newest(&config.output.results_dir, Some(&session.task_name))?,
        ResumeFrom::Folder(path) => RunFolder::existing(path)?,
    };
    let lock = run.lock()?;
    let root = checkpoint_root(&session.loaded, &run);
    let mirror = config
        .training
        .volume_checkpoint_dir
        .as_ref()
        .map(|folder| folder.join(run.name()));
    let roots: Vec<&std::path::Path> = std::iter::once(root.as_path()).chain(mirror.as_deref()).collect();
    for root in &roots {
        // A kill may have come just when the newest checkpoint was moved aside for its successor.
        for line in atomic::clean(root)? {
            tracing::warn!("{line}");
        }
    }
    let (found, warnings) = crate::checkpoint::latest_valid(&roots)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if found.is_none() {
        tracing::warn!(
            "{} has no valid checkpoint; the run starts anew in it",
            shown(&run.path)
        );
    }
    Ok(Resumed {
        run,
        lock,
        checkpoint: found.map(|f| f.path),
    })
}

fn checkpoint_root(loaded: &Loaded, run: &RunFolder) -> std::path::PathBuf {
    let configured = loaded
        .config
        .training
        .checkpoint_dir
        .as_ref()
        .map(|root| root.join(run.name()));
    configured.unwrap_or_else(|| run.path.join("checkpoints"))
}

/// Starts the loggers that the configuration names, and those that are on by default.
fn start_loggers(session: &Session, run: &RunFolder, state: Option<&TrainingState>) -> Loggers {
    let mut loggers = Loggers::default();
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
        let resume = state.map_or(Value::Null, |s| s.json["loggers"][&name].clone());
        match session.registry.logger(&name) {
            Ok((logger, _)) => loggers.start(&name, logger, &info, &resume),
            Err(e) => tracing::warn!("logger `{name}` is off: {e}"),
        }
    }
    loggers.parameters(&session.loaded.to_json());
    loggers
}

fn default_loggers(registry: &Registry) -> Vec<String> {
    let loggers = registry.catalogue().components("logger");
    loggers
        .filter(|(_, component)| component.default)
        .map(|(_, component)| component.name.clone())
        .collect()
}

#[allow(clippy::too_many_arguments)] // the parts of a run, each made on its own above
fn fit(
    session: &Session,
    data: &Data,
    model: &mut Model,
    monitor: Monitor,
    run: &RunFolder,
    state: Option<&TrainingState>,
    loggers: &mut Loggers,
    json: bool,
) -> Result<Outcome> {
    let training = &session.loaded.config.training;
    let keep = Keep::top_k(training.save_top_k, monitor.mode());
    let mirror = training
        .volume_checkpoint_dir
        .as_ref()
        .map(|root| root.join(run.name()));
    let checkpoints = Checkpoints::new(checkpoint_root(&session.loaded, run), mirror, keep)?;
    for line in &checkpoints.cleaned {
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
        json,
        profile,
        network: &mut model.network,
    };
    trainer.run(state)
}

/// Predictions and pictures of the validation data with the final weights, where they are asked for.
fn write_results(session: &Session, data: &Data, model: &mut Model, run: &RunFolder) -> Result<()> {
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

impl Finished {
    fn event(&self) -> Value {
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
            "steps": self.outcome.steps,
            "epochs": self.outcome.epochs,
            "best": best,
            "metrics": self.outcome.metrics,
        });
        if let Some(profile) = &self.outcome.profile {
            event["profile"] = profile.event();
        }
        event
    }

    fn text(&self) -> String {
        let how = match self.outcome.ended {
            Ended::Finished => "finished",
            Ended::StoppedEarly => "stopped early: no better value for the configured number of epochs",
            Ended::Interrupted => "interrupted; go on with `cvhost run --resume …`",
        };
        let mut text = format!(
            "{how} after {} epochs, {} steps",
            self.outcome.epochs, self.outcome.steps
        );
        if let Some(best) = self.outcome.best {
            text += &format!("\nbest {} {best:.4}", self.monitored);
        }
        if self.trial {
            return text + "\neverything works; nothing was left behind";
        }
        text += &format!("\nrun folder   {}", shown(&self.folder.path));
        text += &format!("\ncheckpoints  {}", shown(&self.checkpoints));
        if let Some(profile) = &self.outcome.profile {
            text += &format!("\ntrace        {}\n{profile}", shown(&profile.path));
        }
        text
    }
}

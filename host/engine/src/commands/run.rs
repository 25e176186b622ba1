//! `cvhost run`: train a model.

use super::find_lr::find_lr;
use super::job::{Job, Reached};
use super::prepare::{Ready, prepare};
use super::resumed::{Resumed, checkpoint_root};
use crate::run_folder::RunFolder;
use crate::session::shown;
use cvhost::cli::{Global, RunArgs};
use cvhost::error::{Error, Kind, Result};
use cvhost::output;
use cvhost_checkpoint::{ModelFolder, TrainingState};
use cvhost_plugin_api::data::Status;
use cvhost_train::loggers::Loggers;
use cvhost_train::{Ended, Outcome, Record, Standing};
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
    let (scratch, changes) = trial_changes(args)?;
    let Ready {
        session,
        data,
        mut model,
        monitor,
        resumed,
    } = prepare(args, global, &changes)?;
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
    reached.folder = Some(run.clone());
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
    if is_new && !reached.begun {
        job.discard();
        reached.folder = None;
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

/// A run of `--overfit-batches` goes on with all images, if it is resumed: that is neither the one nor the other.
fn refuse_overfit(state: Option<&TrainingState>) -> Result<()> {
    let record = state.map(Record::of).transpose()?;
    let Some(batches) = record.and_then(|record| record.overfit_batches) else {
        return Ok(());
    };
    Err(Error::usage(format!(
        "--resume: the run trained on its first {batches} batches alone (--overfit-batches)"
    ))
    .with_expected("a run of all images")
    .with_help("start without --resume, or name another run's folder: --resume=DIR"))
}

/// The folder that a `--fast-dev-run` works in and that goes with it, and what it changes in the configuration.
fn trial_changes(args: &RunArgs) -> Result<(Option<tempfile::TempDir>, Vec<String>)> {
    let Some(steps) = args.trial.fast_dev_run else {
        return Ok((None, Vec::new()));
    };
    let folder = tempfile::tempdir()
        .map_err(|e| Error::io(Kind::Environment, "create a folder in", &std::env::temp_dir(), &e))?;
    let changes = vec![
        format!("training.max_steps={steps}"),
        "training.max_epochs=1".to_owned(),
        "training.sanity_batches=0".to_owned(),
        "training.log_every_n_steps=1".to_owned(),
        "training.checkpoint_dir=null".to_owned(),
        "training.volume_checkpoint_dir=null".to_owned(),
        format!("output.results_dir={}", folder.path().display()),
    ];
    Ok((Some(folder), changes))
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

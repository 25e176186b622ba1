//! `cvhost run`: train a model.

use super::find_lr::find_lr;
use super::prepare::{Prepared, prepare};
use super::resumed::{Resumed, checkpoint_root};
use super::training_run::{RunProgress, TrainingRun};
use crate::run_folder::RunFolder;
use cvhost::cli::{Global, RunArgs};
use cvhost::error::{Error, Kind, Result};
use cvhost::output;
use cvhost_checkpoint::{ModelFolder, TrainingState};
use cvhost_train::events::{RunEnd, RunEvent, RunStatus};
use cvhost_train::observers::{JsonLines, Observers, Terminal};
use cvhost_train::{Ended, Record};

/// Trains. The last event, `Finished`, is emitted whatever happens. Returns the exit code.
pub fn run(args: &RunArgs, global: &Global) -> u8 {
    if let Some(steps) = args.trial.find_lr {
        let found = find_lr(args, global, steps);
        return found.map_or_else(|error| output::error(&error, global.json), |()| 0);
    }
    let mut observers = Observers::default();
    observers.add(Terminal::new(global.json));
    if global.json {
        observers.add(JsonLines);
    }
    let mut reached = RunProgress::default();
    let end = train(args, global, &mut reached, &mut observers);
    let end = end.unwrap_or_else(|error| reached.failed(error));
    let code = exit_code(&end);
    // The run folder's lock is held up to here: loggers still write into it.
    if let Err(error) = observers.emit(&RunEvent::Finished(Box::new(end))) {
        return code.max(output::error(&error, global.json));
    }
    code
}

fn exit_code(end: &RunEnd) -> u8 {
    match (&end.error, end.status) {
        (Some(error), _) => error.kind.exit_code(),
        (None, RunStatus::Interrupted) => Kind::Interrupted.exit_code(),
        (None, _) => 0,
    }
}

fn train(
    args: &RunArgs,
    global: &Global,
    reached: &mut RunProgress,
    observers: &mut Observers,
) -> Result<RunEnd> {
    let (scratch, changes) = trial_changes(args)?;
    let Prepared {
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
    let (run, lock) = match resumed {
        Some(Resumed { run, lock, .. }) => (run, lock),
        None => {
            let results = &session.loaded.config.output.results_dir;
            let run = RunFolder::create(results, &session.task_name)?;
            let lock = run.lock()?;
            (run, lock)
        }
    };
    reached.hold(&run, lock);
    let monitored = monitor.metric.clone();
    let job = TrainingRun {
        session: &session,
        data: &data,
        run: &run,
        trial: scratch.is_some(),
    };
    let trained = job.fit(&mut model, monitor, start.zip(state), observers, reached);
    if is_new && !reached.begun {
        job.discard();
        reached.folder = None;
    }
    let outcome = trained?;
    if outcome.ended != Ended::Interrupted && !job.trial {
        job.write_results(&mut model, reached.progress.at.step, observers)?;
    }
    let checkpoints = checkpoint_root(&session.loaded, &run);
    if job.trial {
        // What was written must be readable, too.
        session.trained_model(&ModelFolder::open(&checkpoints.join("last"))?, &data.spec)?;
    }
    Ok(RunEnd {
        status: match outcome.ended {
            Ended::Finished => RunStatus::Finished,
            Ended::StoppedEarly => RunStatus::StoppedEarly,
            Ended::Interrupted => RunStatus::Interrupted,
        },
        error: None,
        checkpoints: Some(checkpoints),
        monitored,
        best: outcome.best,
        profile: outcome.profile,
        trial: job.trial,
        ..reached.end()
    })
}

/// A run of `--overfit-batches` would continue with all images, which would be neither the one
/// thing nor the other.
fn refuse_overfit(state: Option<&TrainingState>) -> Result<()> {
    let record = state.map(Record::of).transpose()?;
    let Some(batches) = record.and_then(|record| record.overfit_batches) else {
        return Ok(());
    };
    Err(Error::usage(format!(
        "--resume: the run trained only on its first {batches} batches (--overfit-batches)"
    ))
    .with_expected("a run on all images")
    .with_help("start without --resume, or name another run's folder: --resume=DIR"))
}

/// The temporary folder in which a `--fast-dev-run` works, and the configuration changes for it.
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

//! The run that `--resume` continues, its configuration and its newest valid checkpoint.

use crate::run_folder::{RunFolder, RunLock};
use crate::session::{Session, shown};
use cvhost::atomic;
use cvhost::cli::{ResumeFrom, RunArgs};
use cvhost::config::show::BLANK;
use cvhost::config::{Draft, Loaded, OutputConfig};
use cvhost::error::{Error, Result};
use cvhost_checkpoint::latest_valid;
use cvhost_hub::layout::CONFIG;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The run to continue, and its newest valid checkpoint.
pub(super) struct Resumed {
    pub run: RunFolder,
    pub lock: RunLock,
    pub checkpoint: Option<PathBuf>,
}

/// Which run `--resume` means. A configuration says where the runs are and which task they have;
/// without one the newest run of any task is taken.
pub(super) fn which_run(from: &ResumeFrom, args: &RunArgs) -> Result<ResumeFrom> {
    if args.config.is_some() || *from != ResumeFrom::Newest {
        return Ok(from.clone());
    }
    let mut overrides = Draft::empty();
    for text in &args.overrides {
        overrides.set(text)?;
    }
    let results = overrides.text("output.results_dir");
    let results = results.map_or_else(|| OutputConfig::default().results_dir, Into::into);
    Ok(ResumeFrom::Folder(RunFolder::newest(&results, None)?.path))
}

/// The configuration in a run's folder, with these overrides.
pub(super) fn own_draft(run: &RunFolder, overrides: &[String]) -> Result<Draft> {
    let draft = Draft::read(&run.config(), overrides)?;
    if draft.has_blanks() {
        tracing::warn!(
            "{} contains no secrets, but `{BLANK}` in their place; give --config, or override those that \
             matter",
            shown(&run.config())
        );
    }
    Ok(draft)
}

/// Finds and locks the run that `from` means, and checks that it can continue with the session's
/// configuration.
pub(super) fn find_resumed(from: &ResumeFrom, session: &mut Session) -> Result<Resumed> {
    let config = &session.loaded.config;
    let run = match from {
        ResumeFrom::Newest => RunFolder::newest(&config.output.results_dir, Some(&session.task_name))?,
        ResumeFrom::Folder(path) => RunFolder::existing(path)?,
    };
    let lock = run.lock()?;
    let kept = run.kept();
    refuse_another_task(&run, &kept, session)?;
    refuse_moved_checkpoints(&run, &kept, session)?;
    let root = checkpoint_root(&session.loaded, &run);
    let mirror = config
        .training
        .volume_checkpoint_dir
        .as_ref()
        .map(|folder| folder.join(run.name()));
    let roots: Vec<&Path> = std::iter::once(root.as_path()).chain(mirror.as_deref()).collect();
    for root in &roots {
        // The process may have been killed just when the newest checkpoint was moved aside for its
        // successor.
        for line in atomic::clean(root, CONFIG)? {
            tracing::warn!("{line}");
        }
    }
    let (found, warnings) = latest_valid(&roots)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if found.is_none() {
        tracing::warn!(
            "{} has no valid checkpoint; the run starts from the beginning in it",
            shown(&run.path)
        );
    }
    if found.is_some() {
        keep_the_model(&kept, session)?;
        warn_of_other_data(&kept, session);
    }
    Ok(Resumed {
        run,
        lock,
        checkpoint: found.map(|f| f.path),
    })
}

fn refuse_another_task(run: &RunFolder, kept: &Draft, session: &Session) -> Result<()> {
    match kept.text("model.task_type") {
        Some(task) if task != session.task_name => Err(Error::usage(format!(
            "--resume: {} is a run of {task}, but the configuration is for {}",
            shown(&run.path),
            session.task_name
        ))
        .with_help("give the run's own configuration, or none at all")),
        _ => Ok(()),
    }
}

/// In another folder the run's checkpoints would not be found: it would start from the beginning,
/// and so would its logs.
fn refuse_moved_checkpoints(run: &RunFolder, kept: &Draft, session: &Session) -> Result<()> {
    const KEY: &str = "training.checkpoint_dir";
    let before = kept.text(KEY).map(PathBuf::from);
    let before = before.map(|path| std::path::absolute(&path).unwrap_or(path));
    if before == session.loaded.config.training.checkpoint_dir {
        return Ok(());
    }
    let there = before.map_or_else(|| run.path.join("checkpoints"), |root| root.join(run.name()));
    Err(session
        .loaded
        .error_at(KEY, "a resumed run can't move its checkpoints")
        .with_expected(format!(
            "`{KEY}` as in the run; its checkpoints are in {}",
            shown(&there)
        )))
}

/// Keeps the run's model in the configuration: its weights are in the checkpoint, whatever model is
/// named now.
fn keep_the_model(kept: &Draft, session: &mut Session) -> Result<()> {
    for key in ["model.model_name", "model.pretrained"] {
        let (before, now) = (kept.value(key), session.loaded.value(key));
        if let Some(before) = before.filter(|before| Some(before) != now.as_ref()) {
            tracing::warn!(
                "`{key}` stays {before}, as at the start of the run: its weights are in the checkpoint"
            );
            session.loaded.decide(key, &before)?;
        }
    }
    Ok(())
}

/// Warns if the data is at another place. A path may be written in several ways; one that doesn't
/// exist, or not relative to this folder, can't be compared.
fn warn_of_other_data(kept: &Draft, session: &Session) {
    const KEYS: [&str; 4] = [
        "data.train_data_path",
        "data.train_annotation_file",
        "data.val_data_path",
        "data.val_annotation_file",
    ];
    let place = |value: Option<Value>| Path::new(value?.as_str()?).canonicalize().ok();
    for key in KEYS {
        let before = place(kept.value(key));
        if before.is_some() && before != place(session.loaded.value(key)) {
            tracing::warn!(
                "`{key}` differs from the start of the run: the metrics from here on are not comparable"
            );
        }
    }
}

/// The folder of a run's checkpoints.
pub(super) fn checkpoint_root(loaded: &Loaded, run: &RunFolder) -> PathBuf {
    let configured = loaded
        .config
        .training
        .checkpoint_dir
        .as_ref()
        .map(|root| root.join(run.name()));
    configured.unwrap_or_else(|| run.path.join("checkpoints"))
}

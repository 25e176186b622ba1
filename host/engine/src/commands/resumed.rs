//! The run that `--resume` goes on with, its configuration and its newest valid checkpoint.

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

/// The run to go on with, and its newest valid checkpoint.
pub(super) struct Resumed {
    pub run: RunFolder,
    pub lock: RunLock,
    pub checkpoint: Option<PathBuf>,
}

/// Without a configuration, which says where runs are and of which task, the newest run is that of any task.
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

/// The configuration that a run keeps, with these overrides.
pub(super) fn own_draft(run: &RunFolder, overrides: &[String]) -> Result<Draft> {
    let draft = Draft::read(&run.config(), overrides)?;
    if draft.has_blanks() {
        tracing::warn!(
            "{} keeps no secrets: `{BLANK}` stands in their place; give --config or override them where they matter",
            shown(&run.config())
        );
    }
    Ok(draft)
}

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
        // A kill may have come just when the newest checkpoint was moved aside for its successor.
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
            "{} has no valid checkpoint; the run starts anew in it",
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
            "--resume: {} is a run of {task}, and the configuration is one of {}",
            shown(&run.path),
            session.task_name
        ))
        .with_help("give the configuration that the run had, or none at all")),
        _ => Ok(()),
    }
}

/// Where the checkpoints are now, the run's aren't: it would start anew, and its logs with it.
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
        .error_at(KEY, "a run that is resumed can't move its checkpoints")
        .with_expected(format!(
            "`{KEY}` as the run had it; its checkpoints are in {}",
            shown(&there)
        )))
}

/// The weights are those of the checkpoint, whatever model the configuration names now.
fn keep_the_model(kept: &Draft, session: &mut Session) -> Result<()> {
    for key in ["model.model_name", "model.pretrained"] {
        let (before, now) = (kept.value(key), session.loaded.value(key));
        if let Some(before) = before.filter(|before| Some(before) != now.as_ref()) {
            tracing::warn!(
                "`{key}` stays {before}, which the run began with: its weights are in the checkpoint"
            );
            session.loaded.decide(key, &before)?;
        }
    }
    Ok(())
}

/// Tells where the data lies elsewhere. A place may be written in several ways; one that isn't there, or not from this folder, can't be
/// compared.
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
            tracing::warn!("`{key}` is another one than the run began with: what follows isn't comparable");
        }
    }
}

/// Where a run's checkpoints go.
pub(super) fn checkpoint_root(loaded: &Loaded, run: &RunFolder) -> PathBuf {
    let configured = loaded
        .config
        .training
        .checkpoint_dir
        .as_ref()
        .map(|root| root.join(run.name()));
    configured.unwrap_or_else(|| run.path.join("checkpoints"))
}

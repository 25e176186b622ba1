//! The run that `--resume` goes on with, its configuration and its newest valid checkpoint.

use crate::checkpoint::{atomic, latest_valid};
use crate::run_folder::{RunFolder, RunLock};
use crate::session::{Session, shown};
use cvhost::cli::{ResumeFrom, RunArgs};
use cvhost::config::show::BLANK;
use cvhost::config::{Draft, Loaded, OutputConfig};
use cvhost::error::Result;
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

pub(super) fn find_resumed(from: &ResumeFrom, session: &Session) -> Result<Resumed> {
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
    let roots: Vec<&Path> = std::iter::once(root.as_path()).chain(mirror.as_deref()).collect();
    for root in &roots {
        // A kill may have come just when the newest checkpoint was moved aside for its successor.
        for line in atomic::clean(root)? {
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
    Ok(Resumed {
        run,
        lock,
        checkpoint: found.map(|f| f.path),
    })
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

//! Logger plugins as observers: each runs on a thread of its own. One that fails is switched off
//! and reported at the end; the training continues.

mod items;
mod state;
#[cfg(test)]
mod tests;
mod worker;

use super::{CheckpointState, Observer};
use crate::events::{ArtifactKind, RunEvent, RunStatus};
use crossbeam_channel::{Sender, bounded};
use cvhost::error::{Kind, Result};
use cvhost_plugin_api::abi::LoggerBox;
use cvhost_plugin_api::data::{LogItem, RunInfo, Status};
use serde_json::Value;
use state::Patience;
use std::time::Duration;
use worker::Worker;

pub use state::missing_items;

/// How long loggers may take to finish, and to report their state for a checkpoint.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the training waits for the states of slow loggers when the next checkpoint is due.
const GRACE: Duration = Duration::from_secs(1);

/// All loggers of a run.
pub struct Loggers {
    workers: Vec<Worker>,
    /// Loggers whose thread could not be started.
    failures: Vec<String>,
    patience: Duration,
    grace: Duration,
    /// Dropped to hurry the checkpoint that waits for states.
    waiting: Option<Sender<()>>,
}

impl Default for Loggers {
    fn default() -> Self {
        Loggers {
            workers: Vec::new(),
            failures: Vec::new(),
            patience: PATIENCE,
            grace: GRACE,
            waiting: None,
        }
    }
}

impl Loggers {
    /// Starts a logger with the state that a checkpoint holds of it: an empty object for a new run,
    /// null if the checkpoint has none. A failure to start is reported at the end, like any other
    /// of its failures.
    pub fn start(&mut self, name: &str, logger: LoggerBox, run: &RunInfo, resume: &Value) {
        match Worker::start(name, logger, run, resume, self.patience) {
            Ok(worker) => self.workers.push(worker),
            Err(e) => self
                .failures
                .push(format!("logger `{name}` could not start: {e}")),
        }
    }

    fn send(&mut self, item: &LogItem) {
        for worker in &mut self.workers {
            worker.send(item.clone());
        }
    }

    /// Ends all loggers. Returns what went wrong with them.
    fn shut_down(&mut self, status: Status) -> Vec<String> {
        let workers = std::mem::take(&mut self.workers);
        let mut failures = std::mem::take(&mut self.failures);
        for worker in &workers {
            worker.ask_to_stop(status, self.patience);
        }
        let deadline = std::time::Instant::now() + self.patience + Duration::from_secs(5);
        failures.extend(workers.into_iter().filter_map(|worker| worker.join(deadline)));
        failures
    }
}

impl Observer for Loggers {
    fn observe(&mut self, event: &RunEvent) -> Result<()> {
        match event {
            RunEvent::Parameters(parameters) => {
                self.send(&items::parameters(&parameters.values));
                self.send(&items::tags(&parameters.tags));
            }
            RunEvent::Step(step) => {
                if let Some(metrics) = &step.metrics {
                    self.send(&items::metrics(step.step, metrics));
                }
            }
            RunEvent::Epoch(epoch) => self.send(&items::metrics(epoch.step, &epoch.metrics)),
            RunEvent::Checkpoint(checkpoint) => {
                let name = checkpoint.path.file_name().unwrap_or_default().to_string_lossy();
                let kind = ArtifactKind::Checkpoint;
                self.send(&items::artifact(checkpoint.step, &name, &checkpoint.path, kind));
            }
            RunEvent::Artifact(a) => self.send(&items::artifact(a.step, &a.name, &a.path, a.kind)),
            RunEvent::Image(drawn) => self.send(&items::image(drawn)),
            RunEvent::Finished(end) => {
                let interrupted = |kind: Kind| kind == Kind::Interrupted;
                let status = match (end.status, &end.error) {
                    (_, Some(error)) if interrupted(error.kind) => Status::INTERRUPTED,
                    (RunStatus::Interrupted, _) => Status::INTERRUPTED,
                    (RunStatus::Failed, _) | (_, Some(_)) => Status::FAILED,
                    (RunStatus::Finished | RunStatus::StoppedEarly, None) => Status::OK,
                };
                for failure in self.shut_down(status) {
                    tracing::warn!("{failure}");
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn checkpoint_state(&mut self) -> Option<CheckpointState> {
        let asked = self.workers.iter().map(Worker::ask_state).collect();
        let (waiting, hurry) = bounded(0);
        self.waiting = Some(waiting);
        let patience = Patience {
            limit: self.patience,
            grace: self.grace,
            hurry,
        };
        Some(Box::new(move |json| state::wait(asked, &patience).write(json)))
    }

    fn hurry(&mut self) {
        self.waiting = None;
    }
}

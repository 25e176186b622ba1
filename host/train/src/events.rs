//! The events of a run: one stream, from which everything that is printed, logged or displayed is
//! derived. The trainer and the run command emit them, [`Observer`](crate::observers::Observer)s
//! receive them in order, on the trainer's thread.

use crate::profile::Report;
use cvhost::error::Error;
use cvhost_plugin_api::data::Image;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::time::Duration;
use tch::Device;

/// Something that happened in a run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RunEvent {
    /// Everything is ready and restored; the first step follows.
    RunStarted(RunStart),
    /// The configuration and what the run works with.
    Parameters(Parameters),
    /// What will be trained, and for how long.
    Plan(Plan),
    /// The state of a checkpoint has been restored.
    Resumed(Resume),
    /// Frozen parameters are trained from this epoch on: the number of elements in them.
    Unfrozen(usize),
    /// The (remaining) steps of an epoch begin.
    EpochStarted(EpochStart),
    /// An optimizer step.
    Step(Step),
    /// The steps that [`RunEvent::EpochStarted`] announced are over, or were interrupted.
    StepsEnded,
    /// An epoch with its validation.
    Epoch(Epoch),
    /// A checkpoint has been written.
    Checkpoint(Checkpoint),
    /// The training failed, but a checkpoint of everything up to this step has been written.
    Rescued { step: u64 },
    /// An image was drawn.
    Image(DrawnImage),
    /// A file or folder of the run is complete.
    Artifact(Artifact),
    /// A split was evaluated for the report.
    Report(EvaluationReport),
    /// Something that the user should know, as a sentence.
    Warning(String),
    /// The run is over. Always the last event.
    Finished(Box<RunEnd>),
}

/// The run as it starts.
#[derive(Debug, Clone, Default)]
pub struct RunStart {
    /// The run folder.
    pub folder: PathBuf,
    /// The resolved configuration as YAML.
    pub config: String,
}

/// The parameters of a run.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    /// The resolved configuration, as a JSON object.
    pub values: Value,
    /// Texts by name that say what the run works with: task, model family, versions.
    pub tags: Map<String, Value>,
}

/// What will be trained, and for how long.
#[derive(Debug, Clone)]
pub struct Plan {
    pub device: Device,
    /// The table of modules, as text.
    pub table: String,
    /// Elements of the trained parameters.
    pub trained: usize,
    /// Elements of all parameters and buffers.
    pub parameters: usize,
    /// Optimizer steps of the whole run.
    pub steps: u64,
    /// Epochs of the whole run.
    pub epochs: u64,
    /// The metrics that summarise an epoch, most general first.
    pub headline: Vec<String>,
}

/// Where a resumed run continues.
#[derive(Debug, Clone, Copy)]
pub struct Resume {
    /// Optimizer steps done.
    pub step: u64,
    /// The epoch that continues, from 0.
    pub epoch: u64,
}

/// An epoch as it starts.
#[derive(Debug, Clone, Copy)]
pub struct EpochStart {
    /// From 0.
    pub epoch: u64,
    /// Steps that remain in the epoch.
    pub steps: u64,
    /// Steps between two log entries (`training.log_every_n_steps`).
    pub log_every: u64,
}

/// An optimizer step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Optimizer steps so far, this one included.
    pub step: u64,
    /// From 0.
    pub epoch: u64,
    /// Images of this rank in the step.
    pub images: usize,
    pub learning_rate: f64,
    /// The loss of the latest step whose values have been read; on a GPU that may be an earlier
    /// one.
    pub loss: Option<f64>,
    /// The step's metrics, where it is logged.
    pub metrics: Option<Map<String, Value>>,
}

/// An epoch with its validation.
#[derive(Debug, Clone)]
pub struct Epoch {
    /// Epochs done.
    pub epoch: u64,
    /// Epochs of the whole run.
    pub epochs: u64,
    /// Batches done of the next epoch, where the run ended within it.
    pub batch: usize,
    /// Optimizer steps done.
    pub step: u64,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// Duration of the steps, without the validation.
    pub train_seconds: f64,
    /// The mean training loss and the metrics of the validation.
    pub metrics: Map<String, Value>,
}

/// A checkpoint that has been written.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    pub path: PathBuf,
    /// Epochs done.
    pub epoch: u64,
    /// Optimizer steps done.
    pub step: u64,
    pub is_best: bool,
    /// How long the training waited.
    pub waited: Duration,
    /// How long writing took, meanwhile.
    pub written_in: Duration,
}

/// An image with predictions drawn on it.
#[derive(Debug, Clone)]
pub struct DrawnImage {
    /// The file name.
    pub name: String,
    /// Optimizer steps of the weights that predicted it.
    pub step: u64,
    pub image: Image,
    /// Where it has been written.
    pub path: PathBuf,
}

/// A file or folder of the run.
#[derive(Debug, Clone)]
pub struct Artifact {
    pub name: String,
    /// Optimizer steps done when it was written.
    pub step: u64,
    pub path: PathBuf,
    pub kind: ArtifactKind,
}

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtifactKind {
    /// A checkpoint folder, which the retention policy may remove later.
    Checkpoint,
    /// A file that stays: a report, predictions.
    File,
}

/// The evaluation behind the report.
#[derive(Debug, Clone)]
pub struct EvaluationReport {
    /// `val`.
    pub split: String,
    /// The content of `report.json`.
    pub document: Value,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunStatus {
    #[default]
    Finished,
    /// The patience of `training.early_stopping_patience` ran out.
    StoppedEarly,
    Interrupted,
    Failed,
}

/// The run at its end.
#[derive(Debug, Clone, Default)]
pub struct RunEnd {
    pub status: RunStatus,
    /// The error of a run that failed, or that was interrupted before it could be resumed.
    pub error: Option<Error>,
    /// The run folder; `None` where there is none, or no longer.
    pub folder: Option<PathBuf>,
    /// The folder of the checkpoints.
    pub checkpoints: Option<PathBuf>,
    /// Optimizer steps done.
    pub steps: u64,
    /// Epochs done.
    pub epochs: u64,
    /// Metrics of the last epoch.
    pub metrics: Map<String, Value>,
    /// The monitored metric.
    pub monitored: String,
    /// Its best value.
    pub best: Option<f64>,
    /// Where the time went, with `--profile`.
    pub profile: Option<Report>,
    /// Whether this was a `--fast-dev-run`, which leaves nothing behind.
    pub trial: bool,
}

//! The traits that an author implements.

use super::args::{
    AdapterArgs, EvaluatorArgs, ExpandArgs, FinishArgs, PredictionArgs, PrepareArgs, ShapeArgs,
};
use crate::data::{
    ArrayMut, Artifact, Batch, CollateRule, Fields, Image, LabelSpec, LogItem, MetricInfo, OpenArgs, Output,
    Parameter, Prepared, Problem, Record, RecordArgs, RecordMeta, Repair, Report, RunInfo, Shape, Status,
    StepContext,
};
use crate::error::{PluginError, Result};
use serde_json::Value;
use std::time::Duration;

/// A computer-vision task: annotation formats, targets, metrics, and drawings of its results. It
/// knows no model family and no trainer.
pub trait Task: Send + Sync {
    /// The versioned form of its targets and predictions, such as `name/1`. Adapters serve forms, not
    /// task names. [`forms`](crate::forms) has the standard ones.
    fn form(&self) -> &str;

    /// The metrics that its evaluators report, the best-known first. Monitored metrics are checked
    /// against this list before training.
    fn metrics(&self) -> Vec<MetricInfo>;

    /// Opens a split's annotations. Problems that don't prevent its use go into
    /// [`DataSet::problems`].
    fn open(&self, args: &OpenArgs) -> Result<Box<dyn DataSet>>;

    /// The split's annotations without what [`Task::open`] refuses or leaves out, as files that can be
    /// opened in their place. Nothing is written; the host does that when the user asks for it.
    fn repair(&self, args: &OpenArgs) -> Result<Repair> {
        let _ = args;
        Err(PluginError::unsupported("this task can't repair annotations")
            .with_help("fix the annotations by hand"))
    }

    /// The records to predict for one image: one record of the whole image, unless the task says
    /// otherwise. A prompt is an error for a task that doesn't use it. With no record at all nothing
    /// is predicted, and [`Task::to_json`] and [`Task::draw`] get no fields.
    fn expand(&self, args: &ExpandArgs<'_>) -> Result<Vec<Record>> {
        if !args.prompt.is_null() {
            return Err(
                PluginError::unsupported("this task predicts whole images and takes no prompt")
                    .with_help("leave out --prompt and --stage"),
            );
        }
        Ok(vec![Record::default()])
    }

    /// A new evaluator.
    fn evaluator(&self, args: &EvaluatorArgs<'_>) -> Result<Box<dyn Evaluator>>;

    /// One image's predictions as the command line prints them: an object that is merged into the
    /// image's line.
    fn to_json(&self, args: &PredictionArgs<'_>) -> Result<Value>;

    /// One image's predictions as files, where JSON doesn't hold them: a depth map or a segmentation
    /// as PNG. Their names start with a dot or a hyphen; the host puts the image's name before it.
    /// None by default.
    fn files(&self, args: &PredictionArgs<'_>) -> Result<Vec<Artifact>> {
        let _ = args;
        Ok(Vec::new())
    }

    /// Draws one image's predictions onto `canvas`, which holds the image and may be resized.
    fn draw(&self, args: &PredictionArgs<'_>, canvas: &mut Image) -> Result<()>;
}

/// The records of one split.
pub trait DataSet: Send + Sync {
    /// The classes, and the form, which must be the task's.
    fn spec(&self) -> LabelSpec;
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// All problems of the annotations.
    fn problems(&self) -> Vec<Problem>;
    /// The record's name in messages and file names, without reading the record.
    fn name(&self, index: usize) -> Result<String> {
        Ok(format!("record {index}"))
    }
    fn meta(&self, index: usize) -> Result<RecordMeta>;
    /// Called from several threads.
    fn record(&self, args: &RecordArgs) -> Result<Record>;
}

/// Collects predictions and targets, and computes the task's metrics.
pub trait Evaluator: Send {
    /// One entry per record: its index in the data set, its prediction and its targets, both in
    /// original pixels.
    fn update(&mut self, ids: &[u64], predictions: &[Fields], targets: &[Fields]) -> Result<()>;
    /// What has been collected, for [`Evaluator::merge`] on another rank.
    fn state(&self) -> Result<Vec<u8>>;
    /// Adds what another evaluator has collected. A record that both have counts once.
    fn merge(&mut self, state: &[u8]) -> Result<()>;
    fn compute(&mut self) -> Result<Report>;
}

/// A lineage of model families: network, loss, matching, input and output conversion, and names in
/// checkpoints.
pub trait Adapter: Send + Sync {
    /// The input side.
    fn input(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Input>>;
    /// The network, with parameters that are not filled yet.
    fn model(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Model>>;
}

/// From sample to model input. Called from several threads; never needs torch.
pub trait Input: Send + Sync {
    /// The shape of the main input for an image, or a region, of this size.
    fn shape(&self, args: &ShapeArgs) -> Result<Shape>;
    /// Writes the main input into `out`, which has the shape that [`Input::shape`] returned, and
    /// returns labels and meta. The memory of `out` is not initialised to anything: every element must
    /// be written.
    fn prepare(&self, args: &PrepareArgs<'_>, out: ArrayMut<'_>) -> Result<Prepared>;
    /// How the host makes batches: the first rule is the main input's.
    fn collate(&self) -> Vec<CollateRule>;
    /// The `preprocessor_config.json` to save.
    fn config_json(&self) -> Result<Value>;
    /// Pixels of the main input per position of the model's coarsest feature map, such as 32; 0 where
    /// that isn't known. Objects smaller than this are hard to tell apart.
    fn stride(&self) -> u64 {
        0
    }
}

/// Something that happened in the run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The parameters have been moved to this device, such as `cuda:0`.
    Device(String),
    /// An epoch begins; the first is 0.
    EpochStart(u64),
    /// An optimizer step has been made; the number of steps so far.
    StepEnd(u64),
    /// An event of a newer host. A wrapper passes it on; others ignore it.
    Other(Value),
}

/// A network on libtorch with its loss. All calls come from one thread.
pub trait Model: Send {
    /// Parameters and buffers under their names on disk.
    fn parameters(&self) -> Result<Vec<Parameter>>;
    /// Fills the named parameters by their initialisation rules.
    fn initialise(&mut self, names: &[&str]) -> Result<()>;
    /// What the loss of this batch is divided by. The host sums it over the accumulation window and
    /// all ranks, and passes the sums to [`Model::forward`]. Empty: the host averages over the window
    /// instead.
    fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        let _ = batch;
        Ok(Vec::new())
    }
    fn forward(&mut self, batch: &Batch, context: &StepContext<'_>) -> Result<Output>;
    /// Converts raw outputs to predictions of the form, in original pixels, one per sample.
    fn finish(&mut self, args: &FinishArgs<'_>) -> Result<Vec<Fields>>;
    fn on_event(&mut self, event: &Event) -> Result<()> {
        let _ = event;
        Ok(())
    }
    /// The `config.json` to save.
    fn config_json(&self) -> Result<Value>;
}

/// A tracking system. Calls come from a thread of its own, so it may be slow, but not forever.
pub trait Logger: Send {
    /// `resume` is what [`Logger::state`] returned for the checkpoint that the run resumes from; an
    /// empty object for a new run, in which whatever an earlier attempt left in its folder doesn't
    /// count; null where the checkpoint knows nothing of this logger.
    fn start(&mut self, run: &RunInfo, resume: &Value) -> Result<()>;
    /// Logs items in order. Files that they name stay unchanged until this returns.
    fn log(&mut self, items: &[LogItem]) -> Result<()>;
    fn state(&self) -> Result<Value>;
    fn shutdown(&mut self, timeout: Duration, status: Status) -> Result<()>;
}

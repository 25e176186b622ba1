//! The traits of an author.

use crate::data::{
    ArrayMut, Artifact, Batch, CollateRule, Fields, Image, LabelSpec, LogItem, Meta, MetricInfo, NamedTensor,
    OpenArgs, Output, Parameter, Prepared, Problem, Record, RecordMeta, Repair, Report, RunInfo, Sample,
    Shape, Status, StepContext,
};
use crate::error::{PluginError, Result};
use serde_json::Value;
use std::time::Duration;

/// One computer-vision task: annotation formats, targets, metrics, and the images of its results. It knows no model
/// family and no trainer.
pub trait Task: Send + Sync {
    /// The versioned form of its targets and predictions, such as `name/1`. Adapters serve forms, not task names.
    fn form(&self) -> &str;

    /// The metrics that its evaluators report, best known first. Monitored metrics are checked against it before training.
    fn metrics(&self) -> Vec<MetricInfo>;

    /// Opens a split's annotations. Problems that don't prevent its use go into [`DataSet::problems`].
    fn open(&self, args: &OpenArgs) -> Result<Box<dyn DataSet>>;

    /// The split's annotations without what [`Task::open`] refuses or leaves out, as a file that can be opened in their place.
    /// Nothing is written; the host does that where the user asks for it.
    fn repair(&self, args: &OpenArgs) -> Result<Repair> {
        let _ = args;
        Err(PluginError::unsupported("this task can't repair annotations")
            .with_help("mend the annotations by hand"))
    }

    /// The records to predict for one image. `side` is what the user or an earlier stage gave with it, or null: the line
    /// that `cvhost predict --json` prints of the image, such as `{"predictions": [{"box_xyxy": […], …}]}`. One record of
    /// the whole image, unless the task says otherwise, where a `side` is an error; with no record at all nothing is predicted, and
    /// [`Task::to_json`] and [`Task::draw`] get no fields.
    fn expand(&self, image: &Image, side: &Value, spec: &LabelSpec) -> Result<Vec<Record>> {
        let _ = (image, spec);
        if !side.is_null() {
            return Err(PluginError::unsupported(
                "this task predicts whole images; it makes nothing of what goes with one",
            )
            .with_help("leave out --side and --stage"));
        }
        Ok(vec![Record::default()])
    }

    /// A new evaluator. `config` is the whole configuration; `config.evaluation.save_predictions` asks for an artifact
    /// with all predictions in the task's usual exchange format.
    fn evaluator(&self, spec: &LabelSpec, config: &Value) -> Result<Box<dyn Evaluator>>;

    /// One image's predictions as the command line prints them: an object that is merged into the line. `options`:
    /// `threshold`, the least score of what is printed.
    fn to_json(&self, prediction: &Fields, spec: &LabelSpec, options: &Value) -> Result<Value>;

    /// One image's predictions as files, where JSON doesn't hold them: a depth map or a segmentation as PNG. Their names
    /// start with a dot or a hyphen; the host puts the image's name before it. None, unless the task says otherwise.
    fn files(&self, prediction: &Fields, spec: &LabelSpec) -> Result<Vec<Artifact>> {
        let _ = (prediction, spec);
        Ok(Vec::new())
    }

    /// Draws one image's predictions onto it; the canvas may get another size. `options`: `confidence_threshold`,
    /// `max_boxes`.
    fn draw(&self, prediction: &Fields, spec: &LabelSpec, canvas: &mut Image, options: &Value) -> Result<()>;
}

/// The records of one split.
pub trait DataSet: Send + Sync {
    fn spec(&self) -> LabelSpec;
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// All that is wrong with the annotations, in one go.
    fn problems(&self) -> Vec<Problem>;
    fn meta(&self, index: usize) -> Result<RecordMeta>;
    /// Called from several threads.
    fn record(&self, index: usize) -> Result<Record>;
}

/// Gathers predictions and targets, and computes the task's metrics.
pub trait Evaluator: Send {
    /// One entry a record: its index in the data set, what was predicted, and its targets, both in original pixels.
    fn update(&mut self, ids: &[u64], predictions: &[Fields], targets: &[Fields]) -> Result<()>;
    /// What has been gathered, for [`Evaluator::merge`] on another rank.
    fn state(&self) -> Result<Vec<u8>>;
    fn merge(&mut self, state: &[u8]) -> Result<()>;
    fn compute(&mut self) -> Result<Report>;
}

/// The JSON files of a Hugging Face checkpoint folder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checkpoint {
    /// `config.json`, with the user's `model_kwargs` merged in.
    pub config: Value,
    /// `preprocessor_config.json`; null where there is none.
    pub preprocessor: Value,
}

/// One model family: its network, loss, matching, input and output conversion, and names in checkpoints.
pub trait Adapter: Send + Sync {
    /// The input side. `config` is the whole configuration; the values that a user sets there beat the checkpoint's.
    fn input(&self, checkpoint: &Checkpoint, config: &Value, spec: &LabelSpec) -> Result<Box<dyn Input>>;
    /// The network, with parameters that are not filled yet.
    fn model(&self, checkpoint: &Checkpoint, config: &Value, spec: &LabelSpec) -> Result<Box<dyn Model>>;
}

/// From sample to model input. Called from several threads; never needs torch.
pub trait Input: Send + Sync {
    /// The main input's shape for an image of this size, in pixels; of a record with a region, for a region of this size.
    fn shape(&self, width: u32, height: u32, train: bool) -> Result<Shape>;
    /// Writes the main input into `out`, which has the shape that [`Input::shape`] gave, and returns labels and meta. `out` holds
    /// anything before: every element of it must be written.
    fn prepare(&self, sample: &Sample, out: ArrayMut<'_>) -> Result<Prepared>;
    /// How the host makes batches: the first rule is the main input's.
    fn collate(&self) -> Vec<CollateRule>;
    /// The `preprocessor_config.json` to save.
    fn config_json(&self) -> Result<Value>;
    /// How many pixels of the main input one position of the model's coarsest feature map stands for, such as 32; 0 where that
    /// isn't known. Objects smaller than this are hard to tell apart.
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
}

/// A network on libtorch with its loss. All calls come from one thread.
pub trait Model: Send {
    /// Parameters and buffers under their names on disk.
    fn parameters(&self) -> Result<Vec<Parameter>>;
    /// Fills the named parameters by their initialisation rules.
    fn initialise(&mut self, names: &[&str]) -> Result<()>;
    /// What the loss is divided by in this batch; the host sums it over the accumulation window and all ranks, and gives
    /// the sums to [`Model::forward`]. Empty: the host averages over the window instead.
    fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        let _ = batch;
        Ok(Vec::new())
    }
    fn forward(&mut self, batch: &Batch, context: &StepContext) -> Result<Output>;
    /// Raw outputs to predictions in the standard form, in original pixels, one a sample. `options`: `threshold`,
    /// `max_detections` and others that the form's consumers agree on; a missing one doesn't limit.
    fn finish(&mut self, outputs: &[NamedTensor], metas: &[Meta], options: &Value) -> Result<Vec<Fields>>;
    fn on_event(&mut self, event: &Event) -> Result<()> {
        let _ = event;
        Ok(())
    }
    /// The `config.json` to save.
    fn config_json(&self) -> Result<Value>;
}

/// One tracking system. Calls come from a thread of its own, so it may be slow, but not for ever.
pub trait Logger: Send {
    /// `resume` is what [`Logger::state`] gave for the checkpoint that the run goes on from; an empty object where the run begins, so that
    /// whatever an earlier attempt left in its folder doesn't count; null where the checkpoint knows nothing of this logger.
    fn start(&mut self, run: &RunInfo, resume: &Value) -> Result<()>;
    fn log(&mut self, items: &[LogItem]) -> Result<()>;
    fn state(&self) -> Result<Value>;
    fn shutdown(&mut self, timeout: Duration, status: Status) -> Result<()>;
}

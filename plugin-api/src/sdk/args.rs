//! The arguments of an author's methods. They grow at their end in later versions; hosts and tests
//! that build one name its fields through the constructor here.

use crate::data::{Fields, Image, LabelSpec, Meta, NamedTensor, Sample};
use serde_json::Value;
use std::path::PathBuf;

/// What a component is constructed with.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NewArgs {
    /// The component's name, by which the configuration asked for it.
    pub name: String,
    /// The whole configuration; null where there is none, as for `cvhost plugin list --load`.
    pub config: Value,
    /// What a newer host says beyond this version; null for nothing.
    pub extra: Value,
}

impl NewArgs {
    pub fn new(name: &str, config: Value) -> Self {
        NewArgs {
            name: name.to_owned(),
            config,
            extra: Value::Null,
        }
    }
}

/// An image to predict.
#[derive(Debug)]
#[non_exhaustive]
pub struct ExpandArgs<'a> {
    pub image: &'a Image,
    /// What the user or an earlier stage gave with the image, or null: the line that `cvhost predict
    /// --json` prints for it, such as `{"predictions": [{"box_xyxy": […], …}]}`.
    pub prompt: Value,
    pub spec: &'a LabelSpec,
    /// What a newer host says beyond this version; null for nothing.
    pub extra: Value,
}

impl<'a> ExpandArgs<'a> {
    pub fn new(image: &'a Image, prompt: Value, spec: &'a LabelSpec) -> Self {
        ExpandArgs {
            image,
            prompt,
            spec,
            extra: Value::Null,
        }
    }
}

/// What an evaluator is made for.
#[derive(Debug)]
#[non_exhaustive]
pub struct EvaluatorArgs<'a> {
    pub spec: &'a LabelSpec,
    /// The whole configuration. `config.evaluation.save_predictions` asks for an artifact with all
    /// predictions in the task's usual exchange format.
    pub config: Value,
    /// What a newer host says beyond this version; null for nothing.
    pub extra: Value,
}

impl<'a> EvaluatorArgs<'a> {
    pub fn new(spec: &'a LabelSpec, config: Value) -> Self {
        EvaluatorArgs {
            spec,
            config,
            extra: Value::Null,
        }
    }
}

/// The prediction of one image.
#[derive(Debug)]
#[non_exhaustive]
pub struct PredictionArgs<'a> {
    pub prediction: &'a Fields,
    pub spec: &'a LabelSpec,
    /// What the user asks for: `threshold` (least score of what is printed), `confidence_threshold`
    /// (of what is drawn), and the keys of `model` that the task or adapter declares. A missing key
    /// doesn't limit anything.
    pub options: Value,
    /// What a newer host says beyond this version; null for nothing.
    pub extra: Value,
}

impl<'a> PredictionArgs<'a> {
    pub fn new(prediction: &'a Fields, spec: &'a LabelSpec, options: Value) -> Self {
        PredictionArgs {
            prediction,
            spec,
            options,
            extra: Value::Null,
        }
    }
}

/// A Hugging Face checkpoint folder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checkpoint {
    /// The folder, absolute, for files that the host doesn't read (tokenizers, TorchScript); empty
    /// where there is none.
    pub folder: PathBuf,
    /// `config.json`, with the user's `model_kwargs` merged in.
    pub config: Value,
    /// `preprocessor_config.json`; null where there is none.
    pub preprocessor: Value,
    /// What a newer host says beyond this version: an object, or null for nothing.
    pub extra: Value,
}

/// What an input side or a model is made from.
#[derive(Debug)]
#[non_exhaustive]
pub struct AdapterArgs<'a> {
    pub checkpoint: &'a Checkpoint,
    /// The whole configuration; the values that a user sets there beat the checkpoint's.
    pub config: &'a Value,
    pub spec: &'a LabelSpec,
    /// What a newer host says beyond this version; null for nothing.
    pub extra: Value,
}

impl<'a> AdapterArgs<'a> {
    pub fn new(checkpoint: &'a Checkpoint, config: &'a Value, spec: &'a LabelSpec) -> Self {
        AdapterArgs {
            checkpoint,
            config,
            spec,
            extra: Value::Null,
        }
    }

    /// These arguments with another checkpoint, for an adapter that builds on another one.
    #[must_use]
    pub fn with_checkpoint<'b>(&self, checkpoint: &'b Checkpoint) -> AdapterArgs<'b>
    where
        'a: 'b,
    {
        AdapterArgs {
            checkpoint,
            config: self.config,
            spec: self.spec,
            extra: self.extra.clone(),
        }
    }
}

/// The image, or the region of one, whose input is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShapeArgs {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Whether the sample is for training.
    pub train: bool,
}

impl ShapeArgs {
    pub fn new(width: u32, height: u32, train: bool) -> Self {
        ShapeArgs { width, height, train }
    }
}

/// The sample to prepare.
#[derive(Debug)]
#[non_exhaustive]
pub struct PrepareArgs<'a> {
    pub sample: &'a Sample,
}

impl<'a> PrepareArgs<'a> {
    pub fn new(sample: &'a Sample) -> Self {
        PrepareArgs { sample }
    }
}

/// Raw outputs of a batch.
#[non_exhaustive]
pub struct FinishArgs<'a> {
    pub outputs: &'a [NamedTensor],
    /// One per sample.
    pub metas: &'a [Meta],
    /// What the user asks for: `threshold`, and the keys of `model` that the task or adapter
    /// declares, such as `max_detections`. A missing key doesn't limit anything.
    pub options: Value,
    /// What a newer host says beyond this version; null for nothing.
    pub extra: Value,
}

impl<'a> FinishArgs<'a> {
    /// These arguments with other options, for an adapter that builds on another one.
    #[must_use]
    pub fn with_options(&self, options: Value) -> Self {
        FinishArgs {
            outputs: self.outputs,
            metas: self.metas,
            options,
            extra: self.extra.clone(),
        }
    }

    pub fn new(outputs: &'a [NamedTensor], metas: &'a [Meta], options: Value) -> Self {
        FinishArgs {
            outputs,
            metas,
            options,
            extra: Value::Null,
        }
    }
}

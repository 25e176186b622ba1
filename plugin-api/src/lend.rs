//! Arguments in the form in which they cross: prefix structs that borrow from the caller for one
//! call. The lifetime of a lent struct is chosen by this module, so nothing borrowed from it can
//! outlive the call:
//!
//! ```compile_fail
//! # use cvhost_plugin_api::data::OpenArgs;
//! let args = OpenArgs::default();
//! let kept = args.lend(|lent| lent.split()); // borrowed data escapes
//! println!("{kept}");
//! ```

use crate::abi;
use crate::data::{List, OpenArgs, RecordArgs, RunInfo, StepContext, Text};
use crate::error::{AbiResult, PluginError, Result};
use crate::raw::{as_prefix, reduce_of};
use crate::sdk::{
    AdapterArgs, Checkpoint, EvaluatorArgs, ExpandArgs, FinishArgs, NewArgs, PredictionArgs, PrepareArgs,
    ShapeArgs,
};
use abi_stable::prefix_type::WithMetadata;
use abi_stable::std_types::{RResult, RSlice, RSliceMut, RStr};
use serde_json::{Map, Value};
use std::ffi::c_void;
use std::path::PathBuf;

/// JSON as it crosses: null is the empty text.
fn text_of(value: &Value) -> String {
    if value.is_null() {
        String::new()
    } else {
        value.to_string()
    }
}

/// JSON that has crossed.
pub(crate) fn parse(json: RStr<'_>) -> Result<Value> {
    if json.is_empty() {
        Ok(Value::Null)
    } else {
        Ok(serde_json::from_str(json.as_str())?)
    }
}

impl NewArgs {
    /// Calls `f` with the arguments as they cross.
    pub fn lend<R>(&self, f: impl for<'b> FnOnce(abi::NewArgsRef<'b>) -> R) -> R {
        let (config, extra) = (text_of(&self.config), text_of(&self.extra));
        let fields = WithMetadata::new(abi::NewArgs {
            name: self.name.as_str().into(),
            config: config.as_str().into(),
            extra: extra.as_str().into(),
        });
        f(abi::NewArgsRef(as_prefix(&fields)))
    }

    pub(crate) fn from_abi(args: abi::NewArgsRef<'_>) -> Result<Self> {
        Ok(NewArgs {
            name: args.name().to_string(),
            config: parse(args.config())?,
            extra: parse(args.extra())?,
        })
    }
}

impl OpenArgs {
    /// Calls `f` with the arguments as they cross.
    pub fn lend<R>(&self, f: impl for<'b> FnOnce(abi::OpenArgsRef<'b>) -> R) -> R {
        let (config, extra) = (text_of(&self.config), text_of(&self.extra));
        let classes: Vec<Text> = self.checkpoint_classes.iter().map(Text::from).collect();
        let fields = WithMetadata::new(abi::OpenArgs {
            split: self.split.as_str().into(),
            images: self.images.as_str().into(),
            annotations: self.annotations.as_str().into(),
            config: config.as_str().into(),
            checkpoint_classes: RSlice::from_slice(&classes),
            rank: self.rank,
            world_size: self.world_size,
            extra: extra.as_str().into(),
        });
        f(abi::OpenArgsRef(as_prefix(&fields)))
    }

    pub(crate) fn from_abi(args: abi::OpenArgsRef<'_>) -> Result<Self> {
        let classes = args.checkpoint_classes();
        Ok(OpenArgs {
            split: args.split().to_string(),
            images: args.images().to_string(),
            annotations: args.annotations().to_string(),
            config: parse(args.config())?,
            checkpoint_classes: classes.iter().map(ToString::to_string).collect(),
            rank: args.rank(),
            world_size: args.world_size(),
            extra: parse(args.extra())?,
        })
    }
}

impl RecordArgs {
    /// Calls `f` with the arguments as they cross.
    pub fn lend<R>(&self, f: impl FnOnce(abi::RecordArgsRef) -> R) -> R {
        let fields = WithMetadata::new(abi::RecordArgs {
            index: self.index,
            epoch: self.epoch,
            seed: self.seed,
        });
        f(abi::RecordArgsRef(as_prefix(&fields)))
    }

    pub(crate) fn from_abi(args: abi::RecordArgsRef) -> Self {
        RecordArgs {
            index: args.index(),
            epoch: args.epoch(),
            seed: args.seed(),
        }
    }
}

impl ExpandArgs<'_> {
    /// Calls `f` with the arguments as they cross.
    pub fn lend<R>(&self, f: impl for<'b> FnOnce(abi::ExpandArgsRef<'b>) -> R) -> R {
        let (prompt, extra) = (text_of(&self.prompt), text_of(&self.extra));
        let fields = WithMetadata::new(abi::ExpandArgs {
            image: self.image,
            prompt: prompt.as_str().into(),
            spec: self.spec,
            extra: extra.as_str().into(),
        });
        f(abi::ExpandArgsRef(as_prefix(&fields)))
    }
}

impl<'a> ExpandArgs<'a> {
    pub(crate) fn from_abi(args: abi::ExpandArgsRef<'a>) -> Result<Self> {
        Ok(ExpandArgs {
            image: args.image(),
            prompt: parse(args.prompt())?,
            spec: args.spec(),
            extra: parse(args.extra())?,
        })
    }
}

impl EvaluatorArgs<'_> {
    /// Calls `f` with the arguments as they cross.
    pub fn lend<R>(&self, f: impl for<'b> FnOnce(abi::EvaluatorArgsRef<'b>) -> R) -> R {
        let (config, extra) = (text_of(&self.config), text_of(&self.extra));
        let fields = WithMetadata::new(abi::EvaluatorArgs {
            spec: self.spec,
            config: config.as_str().into(),
            extra: extra.as_str().into(),
        });
        f(abi::EvaluatorArgsRef(as_prefix(&fields)))
    }
}

impl<'a> EvaluatorArgs<'a> {
    pub(crate) fn from_abi(args: abi::EvaluatorArgsRef<'a>) -> Result<Self> {
        Ok(EvaluatorArgs {
            spec: args.spec(),
            config: parse(args.config())?,
            extra: parse(args.extra())?,
        })
    }
}

impl PredictionArgs<'_> {
    /// Calls `f` with the arguments as they cross.
    pub fn lend<R>(&self, f: impl for<'b> FnOnce(abi::PredictionArgsRef<'b>) -> R) -> R {
        let (options, extra) = (text_of(&self.options), text_of(&self.extra));
        let fields = WithMetadata::new(abi::PredictionArgs {
            prediction: self.prediction,
            spec: self.spec,
            options: options.as_str().into(),
            extra: extra.as_str().into(),
        });
        f(abi::PredictionArgsRef(as_prefix(&fields)))
    }
}

impl<'a> PredictionArgs<'a> {
    pub(crate) fn from_abi(args: abi::PredictionArgsRef<'a>) -> Result<Self> {
        Ok(PredictionArgs {
            prediction: args.prediction(),
            spec: args.spec(),
            options: parse(args.options())?,
            extra: parse(args.extra())?,
        })
    }
}

impl Checkpoint {
    /// The checkpoint's JSON as it crosses, with everything that this version doesn't know.
    fn to_json(&self) -> Value {
        let mut json = self.extra.as_object().cloned().unwrap_or_default();
        json.insert("folder".into(), self.folder.to_string_lossy().into());
        json.insert("config".into(), self.config.clone());
        json.insert("preprocessor".into(), self.preprocessor.clone());
        Value::Object(json)
    }

    pub(crate) fn from_json(value: Value) -> Self {
        let mut json: Map<String, Value> = match value {
            Value::Object(json) => json,
            _ => Map::new(),
        };
        let mut take = |key: &str| json.remove(key).unwrap_or_default();
        let folder = take("folder").as_str().map(PathBuf::from);
        Checkpoint {
            folder: folder.unwrap_or_default(),
            config: take("config"),
            preprocessor: take("preprocessor"),
            extra: if json.is_empty() {
                Value::Null
            } else {
                Value::Object(json)
            },
        }
    }
}

impl AdapterArgs<'_> {
    /// Calls `f` with the arguments as they cross.
    pub fn lend<R>(&self, f: impl for<'b> FnOnce(abi::AdapterArgsRef<'b>) -> R) -> R {
        let (checkpoint, config) = (self.checkpoint.to_json().to_string(), text_of(self.config));
        let extra = text_of(&self.extra);
        let fields = WithMetadata::new(abi::AdapterArgs {
            checkpoint: checkpoint.as_str().into(),
            config: config.as_str().into(),
            spec: self.spec,
            extra: extra.as_str().into(),
        });
        f(abi::AdapterArgsRef(as_prefix(&fields)))
    }
}

impl ShapeArgs {
    /// Calls `f` with the arguments as they cross.
    pub fn lend<R>(&self, f: impl FnOnce(abi::ShapeArgsRef) -> R) -> R {
        let fields = WithMetadata::new(abi::ShapeArgs {
            width: self.width,
            height: self.height,
            train: self.train,
        });
        f(abi::ShapeArgsRef(as_prefix(&fields)))
    }

    pub(crate) fn from_abi(args: abi::ShapeArgsRef) -> Self {
        ShapeArgs {
            width: args.width(),
            height: args.height(),
            train: args.train(),
        }
    }
}

impl PrepareArgs<'_> {
    /// Calls `f` with the arguments as they cross.
    pub fn lend<R>(&self, f: impl for<'b> FnOnce(abi::PrepareArgsRef<'b>) -> R) -> R {
        let fields = WithMetadata::new(abi::PrepareArgs { sample: self.sample });
        f(abi::PrepareArgsRef(as_prefix(&fields)))
    }
}

impl<'a> PrepareArgs<'a> {
    pub(crate) fn from_abi(args: abi::PrepareArgsRef<'a>) -> Self {
        PrepareArgs {
            sample: args.sample(),
        }
    }
}

impl FinishArgs<'_> {
    /// Calls `f` with the arguments as they cross.
    pub fn lend<R>(&self, f: impl for<'b> FnOnce(abi::FinishArgsRef<'b>) -> R) -> R {
        let (options, extra) = (text_of(&self.options), text_of(&self.extra));
        let fields = WithMetadata::new(abi::FinishArgs {
            outputs: RSlice::from_slice(self.outputs),
            metas: RSlice::from_slice(self.metas),
            options: options.as_str().into(),
            extra: extra.as_str().into(),
        });
        f(abi::FinishArgsRef(as_prefix(&fields)))
    }
}

impl<'a> FinishArgs<'a> {
    pub(crate) fn from_abi(args: abi::FinishArgsRef<'a>) -> Result<Self> {
        Ok(FinishArgs {
            outputs: args.outputs().as_slice(),
            metas: args.metas().as_slice(),
            options: parse(args.options())?,
            extra: parse(args.extra())?,
        })
    }
}

/// Calls the closure that [`StepContext::lend`] put behind `data`.
extern "C" fn reduce(data: *const c_void, mut values: RSliceMut<'_, f64>) -> AbiResult<()> {
    let Some(reduce) = reduce_of(data) else {
        return RResult::ROk(());
    };
    // A panic must not cross the interface; this is the caller's own code.
    let reduced = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| reduce(values.as_mut_slice())));
    match reduced {
        Ok(Ok(())) => RResult::ROk(()),
        Ok(Err(error)) => RResult::RErr(error),
        Err(_) => RResult::RErr(PluginError::failed("summing over the ranks panicked")),
    }
}

impl StepContext<'_> {
    /// Calls `f` with the context as it crosses.
    pub fn lend<R>(&self, f: impl for<'b> FnOnce(abi::StepContextRef<'b>) -> R) -> R {
        let extra = text_of(&self.extra);
        let reduce_data = match &self.reduce {
            Some(reduce) => std::ptr::from_ref(reduce).cast::<c_void>(),
            None => std::ptr::null(),
        };
        let fields = WithMetadata::new(abi::StepContext {
            mode: self.mode,
            step: self.step,
            total_steps: self.total_steps,
            epoch: self.epoch,
            normalisers: RSlice::from_slice(&self.normalisers),
            rank: self.rank,
            world_size: self.world_size,
            reduce,
            reduce_data,
            extra: extra.as_str().into(),
        });
        f(abi::StepContextRef(as_prefix(&fields)))
    }

    /// Calls `f` with the context that has crossed.
    pub(crate) fn receive<R>(
        context: abi::StepContextRef<'_>,
        f: impl FnOnce(&StepContext<'_>) -> Result<R>,
    ) -> Result<R> {
        let (function, data) = (context.reduce(), context.reduce_data());
        let reduce = move |values: &mut [f64]| -> Result<()> {
            function(data, RSliceMut::from_mut_slice(values)).into_result()
        };
        f(&StepContext {
            mode: context.mode(),
            step: context.step(),
            total_steps: context.total_steps(),
            epoch: context.epoch(),
            normalisers: context.normalisers().to_vec(),
            rank: context.rank(),
            world_size: context.world_size(),
            extra: parse(context.extra())?,
            reduce: (!data.is_null()).then_some(&reduce),
        })
    }
}

impl RunInfo {
    /// Calls `f` with the information as it crosses.
    pub fn lend<R>(&self, f: impl for<'b> FnOnce(abi::RunInfoRef<'b>) -> R) -> R {
        let (config, parameters) = (text_of(&self.config), text_of(&self.parameters));
        let extra = text_of(&self.extra);
        let fields = WithMetadata::new(abi::RunInfo {
            name: self.name.as_str().into(),
            folder: self.folder.as_str().into(),
            config: config.as_str().into(),
            parameters: parameters.as_str().into(),
            extra: extra.as_str().into(),
        });
        f(abi::RunInfoRef(as_prefix(&fields)))
    }

    pub(crate) fn from_abi(run: abi::RunInfoRef<'_>) -> Result<Self> {
        Ok(RunInfo {
            name: run.name().to_string(),
            folder: run.folder().to_string(),
            config: parse(run.config())?,
            parameters: parse(run.parameters())?,
            extra: parse(run.extra())?,
        })
    }
}

/// Texts in the form in which they cross.
pub(crate) fn texts(names: &[&str]) -> List<Text> {
    names.iter().map(|name| Text::from(*name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Mode;
    use serde_json::json;
    use std::cell::Cell;

    #[test]
    fn a_context_keeps_all_that_it_says_and_reduces_through_the_caller() {
        let called = Cell::new(0);
        let double = |values: &mut [f64]| {
            called.set(called.get() + 1);
            values.iter_mut().for_each(|v| *v *= 2.0);
            Ok(())
        };
        let context = StepContext {
            step: 3,
            total_steps: 9,
            normalisers: vec![1.5],
            rank: 1,
            world_size: 2,
            extra: json!({"later": 1}),
            ..StepContext::new(Mode::TRAIN)
        }
        .with_reduce(&double);
        let seen = context.lend(|lent| {
            StepContext::receive(lent, |received| {
                let mut values = [1.0, 4.0];
                received.reduce(&mut values)?;
                let text = format!("{received:?}");
                Ok((text, values, received.extra.clone()))
            })
        });
        let (text, values, extra) = seen.unwrap();
        assert_eq!(text, format!("{context:?}"));
        assert_eq!((values, called.get()), ([2.0, 8.0], 1));
        assert_eq!(extra, json!({"later": 1}));
    }

    #[test]
    fn one_rank_sums_to_itself_and_several_need_a_way_to_sum() {
        let mut values = [5.0];
        StepContext::new(Mode::TRAIN).reduce(&mut values).unwrap();
        assert_eq!(values, [5.0]);
        let without = StepContext {
            world_size: 2,
            ..StepContext::new(Mode::TRAIN)
        };
        assert!(without.reduce(&mut values).is_err());
    }

    #[test]
    fn a_checkpoint_keeps_what_this_version_does_not_know() {
        let json = json!({"folder": "/m", "config": {"a": 1}, "preprocessor": null, "tokenizer": {"b": 2}});
        let checkpoint = Checkpoint::from_json(json.clone());
        assert_eq!(checkpoint.folder, PathBuf::from("/m"));
        assert_eq!(checkpoint.to_json(), json);
    }
}

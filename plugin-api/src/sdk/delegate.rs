//! From the binary interface back to an author's traits: another plugin's adapter, as one of one's own.

use super::traits::{Adapter, Checkpoint, Event, Input, Model};
use crate::abi;
use crate::data::{
    ArrayMut, Batch, CollateRule, Fields, LabelSpec, Meta, NamedTensor, Output, Parameter, Prepared, Sample,
    Shape, StepContext,
};
use crate::error::{AbiResult, PluginError, Result};
use abi_stable::std_types::{RSlice, RStr, RString};
use serde_json::{Value, json};
use std::cell::Cell;

pub(crate) struct AdapterDelegate {
    pub(crate) adapter: abi::AdapterBox,
    pub(crate) name: String,
}

/// No chain of adapters that build on one another is this long; one that builds on itself has no end.
const MOST_DELEGATES: u32 = 8;

thread_local! {
    static DELEGATES: Cell<u32> = const { Cell::new(0) };
}

impl AdapterDelegate {
    /// Calls `f`, unless this plugin is so deep in calls of other adapters that one of them must be its own.
    fn call<T>(&self, f: impl FnOnce(&abi::AdapterBox) -> AbiResult<T>) -> Result<T> {
        let depth = DELEGATES.get();
        if depth >= MOST_DELEGATES {
            return Err(PluginError::unsupported(format!(
                "the adapter `{}` builds on itself, maybe through others",
                self.name
            ))
            .with_help(
                "an adapter that changes another one needs a name of its own, and so does its plugin",
            ));
        }
        DELEGATES.set(depth + 1);
        let result = f(&self.adapter).into_result();
        DELEGATES.set(depth);
        result
    }
}

impl Adapter for AdapterDelegate {
    fn input(&self, checkpoint: &Checkpoint, config: &Value, spec: &LabelSpec) -> Result<Box<dyn Input>> {
        let (files, config) = (files(checkpoint), config.to_string());
        let input = self.call(|a| a.input(RStr::from_str(&files), RStr::from_str(&config), spec))?;
        Ok(Box::new(InputDelegate(input)))
    }

    fn model(&self, checkpoint: &Checkpoint, config: &Value, spec: &LabelSpec) -> Result<Box<dyn Model>> {
        let (files, config) = (files(checkpoint), config.to_string());
        let model = self.call(|a| a.model(RStr::from_str(&files), RStr::from_str(&config), spec))?;
        Ok(Box::new(ModelDelegate(model)))
    }
}

/// A checkpoint's files as they cross.
fn files(checkpoint: &Checkpoint) -> String {
    json!({"config": checkpoint.config, "preprocessor": checkpoint.preprocessor}).to_string()
}

struct InputDelegate(abi::InputBox);

impl Input for InputDelegate {
    fn shape(&self, width: u32, height: u32, train: bool) -> Result<Shape> {
        self.0.shape(width, height, train).into_result()
    }

    fn prepare(&self, sample: &Sample, out: ArrayMut<'_>) -> Result<Prepared> {
        self.0.prepare(sample, out).into_result()
    }

    fn collate(&self) -> Vec<CollateRule> {
        self.0.collate().into_vec()
    }

    fn config_json(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.0.config_json().into_result()?)?)
    }

    fn stride(&self) -> u64 {
        self.0.stride()
    }
}

struct ModelDelegate(abi::ModelBox);

impl Model for ModelDelegate {
    fn parameters(&self) -> Result<Vec<Parameter>> {
        Ok(self.0.parameters().into_result()?.into_vec())
    }

    fn initialise(&mut self, names: &[&str]) -> Result<()> {
        let names: Vec<RString> = names.iter().map(|n| RString::from(*n)).collect();
        self.0.initialise(RSlice::from_slice(&names)).into_result()
    }

    fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        Ok(self.0.normalisers(batch).into_result()?.into_vec())
    }

    fn forward(&mut self, batch: &Batch, context: &StepContext) -> Result<Output> {
        context.lend(|context| self.0.forward(batch, context).into_result())
    }

    fn finish(&mut self, outputs: &[NamedTensor], metas: &[Meta], options: &Value) -> Result<Vec<Fields>> {
        let options = options.to_string();
        let (outputs, metas) = (RSlice::from_slice(outputs), RSlice::from_slice(metas));
        let finished = self.0.finish(outputs, metas, RStr::from_str(&options));
        Ok(finished.into_result()?.into_vec())
    }

    fn on_event(&mut self, event: &Event) -> Result<()> {
        let event = event.to_json().to_string();
        self.0.on_event(RStr::from_str(&event)).into_result()
    }

    fn config_json(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.0.config_json().into_result()?)?)
    }
}

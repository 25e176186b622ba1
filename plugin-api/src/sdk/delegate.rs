//! From the binary interface back to an author's traits: another plugin's adapter, as if it were
//! one's own. What this version doesn't know (events, JSON beside the checkpoint, `extra` of
//! arguments) is passed on unchanged, so that a wrapper doesn't stand between a newer host and a
//! newer adapter.

use super::args::{AdapterArgs, FinishArgs, PrepareArgs, ShapeArgs};
use super::traits::{Adapter, Event, Input, Model};
use crate::abi;
use crate::data::{ArrayMut, Batch, CollateRule, Fields, Output, Parameter, Prepared, Shape, StepContext};
use crate::error::{AbiResult, PluginError, Result};
use abi_stable::std_types::{RSlice, RStr};
use serde_json::Value;
use std::cell::Cell;

pub(crate) struct AdapterDelegate {
    pub(crate) adapter: abi::AdapterBox,
    pub(crate) name: String,
}

/// Longer chains of adapters that build on one another are taken for a cycle.
const MAX_DELEGATES: u32 = 8;

thread_local! {
    static DELEGATES: Cell<u32> = const { Cell::new(0) };
}

impl AdapterDelegate {
    /// Calls `f`, unless this plugin is so deep in calls of other adapters that one of them must be
    /// its own.
    fn call<T>(&self, f: impl FnOnce(&abi::AdapterBox) -> AbiResult<T>) -> Result<T> {
        let depth = DELEGATES.get();
        if depth >= MAX_DELEGATES {
            return Err(PluginError::unsupported(format!(
                "the adapter `{}` builds on itself, perhaps through others",
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
    fn input(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Input>> {
        let input = self.call(|a| args.lend(|args| a.input(args)))?;
        Ok(Box::new(InputDelegate(input)))
    }

    fn model(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Model>> {
        let model = self.call(|a| args.lend(|args| a.model(args)))?;
        Ok(Box::new(ModelDelegate(model)))
    }
}

struct InputDelegate(abi::InputBox);

impl Input for InputDelegate {
    fn shape(&self, args: &ShapeArgs) -> Result<Shape> {
        args.lend(|args| self.0.shape(args)).into_result()
    }

    fn prepare(&self, args: &PrepareArgs<'_>, out: ArrayMut<'_>) -> Result<Prepared> {
        args.lend(|args| self.0.prepare(args, out)).into_result()
    }

    fn collate(&self) -> Vec<CollateRule> {
        // The trait has no error here; the host asks the adapter itself and reports it.
        self.0
            .collate()
            .into_result()
            .map(Into::into)
            .unwrap_or_else(|error| {
                tracing::error!("{error}");
                Vec::new()
            })
    }

    fn config_json(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.0.config_json().into_result()?)?)
    }

    fn stride(&self) -> u64 {
        self.0.stride().into_result().unwrap_or(0)
    }
}

struct ModelDelegate(abi::ModelBox);

impl Model for ModelDelegate {
    fn parameters(&self) -> Result<Vec<Parameter>> {
        Ok(self.0.parameters().into_result()?.into_vec())
    }

    fn initialise(&mut self, names: &[&str]) -> Result<()> {
        let names = crate::lend::texts(names);
        self.0.initialise(RSlice::from_slice(&names)).into_result()
    }

    fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        Ok(self.0.normalisers(batch).into_result()?.into_vec())
    }

    fn forward(&mut self, batch: &Batch, context: &StepContext<'_>) -> Result<Output> {
        context.lend(|context| self.0.forward(batch, context).into_result())
    }

    fn finish(&mut self, args: &FinishArgs<'_>) -> Result<Vec<Fields>> {
        let finished = args.lend(|args| self.0.finish(args));
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

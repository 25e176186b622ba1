//! From an author's traits to the binary interface: one wrapper per trait, each call guarded.

use super::args::{
    AdapterArgs, Checkpoint, EvaluatorArgs, ExpandArgs, FinishArgs, PredictionArgs, PrepareArgs, ShapeArgs,
};
use super::guard::Guarded;
use super::traits::{self, Event};
use crate::abi;
use crate::data::{
    ArrayMut, Artifact, Batch, CollateRule, Fields, Image, LabelSpec, List, LogItem, MetricInfo, OpenArgs,
    Output, Parameter, Prepared, Problem, Record, RecordArgs, RecordMeta, Repair, Report, RunInfo, Shape,
    Status, StepContext, Text,
};
use crate::error::{AbiResult, PluginError, Result};
use crate::lend::parse;
use abi_stable::erased_types::TD_Opaque;
use abi_stable::std_types::{RSlice, RStr};
use serde_json::Value;
use std::time::Duration;

type Guard<T> = Guarded<Box<T>>;

pub(crate) struct TaskShim(Guard<dyn traits::Task>);

pub(crate) fn task(inner: Box<dyn traits::Task>, who: String) -> abi::TaskBox {
    abi::Task_TO::from_value(TaskShim(Guarded::new(inner, who)), TD_Opaque)
}

impl abi::Task for TaskShim {
    fn form(&self) -> AbiResult<Text> {
        self.0.call("form", |t| Ok(t.form().into()))
    }
    fn metrics(&self) -> AbiResult<List<MetricInfo>> {
        self.0.call("metrics", |t| Ok(t.metrics().into()))
    }
    fn open(&self, args: abi::OpenArgsRef<'_>) -> AbiResult<abi::DataSetBox> {
        self.0.call("open", |t| {
            let data_set = t.open(&OpenArgs::from_abi(args)?)?;
            let who = format!("{}, data set", self.0.who());
            Ok(self::data_set(data_set, who))
        })
    }
    fn expand(&self, args: abi::ExpandArgsRef<'_>) -> AbiResult<List<Record>> {
        self.0
            .call("expand", |t| Ok(t.expand(&ExpandArgs::from_abi(args)?)?.into()))
    }
    fn evaluator(&self, args: abi::EvaluatorArgsRef<'_>) -> AbiResult<abi::EvaluatorBox> {
        self.0.call("evaluator", |t| {
            let evaluator = t.evaluator(&EvaluatorArgs::from_abi(args)?)?;
            let shim = EvaluatorShim(Guarded::new(evaluator, format!("{}, evaluator", self.0.who())));
            Ok(abi::Evaluator_TO::from_value(shim, TD_Opaque))
        })
    }
    fn to_json(&self, args: abi::PredictionArgsRef<'_>) -> AbiResult<Text> {
        self.0.call("to_json", |t| {
            Ok(t.to_json(&PredictionArgs::from_abi(args)?)?.to_string().into())
        })
    }
    fn files(&self, args: abi::PredictionArgsRef<'_>) -> AbiResult<List<Artifact>> {
        self.0
            .call("files", |t| Ok(t.files(&PredictionArgs::from_abi(args)?)?.into()))
    }
    fn draw(&self, args: abi::PredictionArgsRef<'_>, canvas: &mut Image) -> AbiResult<()> {
        self.0
            .call("draw", |t| t.draw(&PredictionArgs::from_abi(args)?, canvas))
    }
    fn repair(&self, args: abi::OpenArgsRef<'_>) -> AbiResult<Repair> {
        self.0.call("repair", |t| t.repair(&OpenArgs::from_abi(args)?))
    }
}

struct DataSetShim(Guard<dyn traits::DataSet>);

pub(crate) fn data_set(inner: Box<dyn traits::DataSet>, who: String) -> abi::DataSetBox {
    abi::DataSet_TO::from_value(DataSetShim(Guarded::new(inner, who)), TD_Opaque)
}

impl abi::DataSet for DataSetShim {
    fn spec(&self) -> AbiResult<LabelSpec> {
        self.0.call("spec", |d| Ok(d.spec()))
    }
    fn len(&self) -> AbiResult<u64> {
        self.0.call("len", |d| Ok(d.len() as u64))
    }
    fn problems(&self) -> AbiResult<List<Problem>> {
        self.0.call("problems", |d| Ok(d.problems().into()))
    }
    fn name(&self, index: u64) -> AbiResult<Text> {
        self.0.call("name", |d| Ok(d.name(index as usize)?.into()))
    }
    fn meta(&self, index: u64) -> AbiResult<RecordMeta> {
        self.0.call("meta", |d| d.meta(index as usize))
    }
    fn record(&self, args: abi::RecordArgsRef) -> AbiResult<Record> {
        self.0.call("record", |d| d.record(&RecordArgs::from_abi(args)))
    }
}

struct EvaluatorShim(Guard<dyn traits::Evaluator>);

impl abi::Evaluator for EvaluatorShim {
    fn update(
        &mut self,
        ids: RSlice<'_, u64>,
        predictions: RSlice<'_, Fields>,
        targets: RSlice<'_, Fields>,
    ) -> AbiResult<()> {
        self.0.call_mut("update", |e| {
            e.update(ids.as_slice(), predictions.as_slice(), targets.as_slice())
        })
    }
    fn state(&self) -> AbiResult<List<u8>> {
        self.0.call("state", |e| Ok(e.state()?.into()))
    }
    fn merge(&mut self, state: RSlice<'_, u8>) -> AbiResult<()> {
        self.0.call_mut("merge", |e| e.merge(state.as_slice()))
    }
    fn compute(&mut self) -> AbiResult<Report> {
        self.0.call_mut("compute", |e| e.compute())
    }
}

pub(crate) struct AdapterShim(Guard<dyn traits::Adapter>);

pub(crate) fn adapter(inner: Box<dyn traits::Adapter>, who: String) -> abi::AdapterBox {
    abi::Adapter_TO::from_value(AdapterShim(Guarded::new(inner, who)), TD_Opaque)
}

/// Calls `f` with an adapter's arguments that have crossed.
fn adapter_args<R>(
    args: abi::AdapterArgsRef<'_>,
    f: impl FnOnce(&AdapterArgs<'_>) -> Result<R>,
) -> Result<R> {
    let checkpoint = Checkpoint::from_json(parse(args.checkpoint())?);
    let config = parse(args.config())?;
    f(&AdapterArgs {
        checkpoint: &checkpoint,
        config: &config,
        spec: args.spec(),
        extra: parse(args.extra())?,
    })
}

impl abi::Adapter for AdapterShim {
    fn input(&self, args: abi::AdapterArgsRef<'_>) -> AbiResult<abi::InputBox> {
        self.0.call("input", |a| {
            let input = adapter_args(args, |args| a.input(args))?;
            let shim = InputShim(Guarded::new(input, format!("{}, input", self.0.who())));
            Ok(abi::Input_TO::from_value(shim, TD_Opaque))
        })
    }
    fn model(&self, args: abi::AdapterArgsRef<'_>) -> AbiResult<abi::ModelBox> {
        self.0.call("model", |a| {
            let model = adapter_args(args, |args| a.model(args))?;
            let shim = ModelShim(Guarded::new(model, format!("{}, model", self.0.who())));
            Ok(abi::Model_TO::from_value(shim, TD_Opaque))
        })
    }
}

struct InputShim(Guard<dyn traits::Input>);

impl abi::Input for InputShim {
    fn shape(&self, args: abi::ShapeArgsRef) -> AbiResult<Shape> {
        self.0.call("shape", |i| i.shape(&ShapeArgs::from_abi(args)))
    }
    fn prepare(&self, args: abi::PrepareArgsRef<'_>, out: ArrayMut<'_>) -> AbiResult<Prepared> {
        self.0
            .call("prepare", |i| i.prepare(&PrepareArgs::from_abi(args), out))
    }
    fn collate(&self) -> AbiResult<List<CollateRule>> {
        self.0.call("collate", |i| Ok(i.collate().into()))
    }
    fn config_json(&self) -> AbiResult<Text> {
        self.0
            .call("config_json", |i| Ok(i.config_json()?.to_string().into()))
    }
    fn stride(&self) -> AbiResult<u64> {
        self.0.call("stride", |i| Ok(i.stride()))
    }
}

struct ModelShim(Guard<dyn traits::Model>);

impl abi::Model for ModelShim {
    fn parameters(&self) -> AbiResult<List<Parameter>> {
        self.0.call("parameters", |m| Ok(m.parameters()?.into()))
    }
    fn initialise(&mut self, names: RSlice<'_, Text>) -> AbiResult<()> {
        self.0.call_mut("initialise", |m| {
            let names: Vec<&str> = names.iter().map(Text::as_str).collect();
            m.initialise(&names)
        })
    }
    fn normalisers(&self, batch: &Batch) -> AbiResult<List<f64>> {
        self.0.call("normalisers", |m| Ok(m.normalisers(batch)?.into()))
    }
    fn forward(&mut self, batch: &Batch, context: abi::StepContextRef<'_>) -> AbiResult<Output> {
        self.0.call_mut("forward", |m| {
            StepContext::receive(context, |context| m.forward(batch, context))
        })
    }
    fn finish(&mut self, args: abi::FinishArgsRef<'_>) -> AbiResult<List<Fields>> {
        self.0
            .call_mut("finish", |m| Ok(m.finish(&FinishArgs::from_abi(args)?)?.into()))
    }
    fn on_event(&mut self, event: RStr<'_>) -> AbiResult<()> {
        self.0
            .call_mut("on_event", |m| m.on_event(&Event::from_json(parse(event)?)))
    }
    fn config_json(&self) -> AbiResult<Text> {
        self.0
            .call("config_json", |m| Ok(m.config_json()?.to_string().into()))
    }
}

impl Event {
    /// The event as it crosses.
    pub fn to_json(&self) -> Value {
        match self {
            Event::Device(name) => serde_json::json!({"device": name}),
            Event::EpochStart(epoch) => serde_json::json!({"epoch_start": epoch}),
            Event::StepEnd(step) => serde_json::json!({"step_end": step}),
            Event::Other(json) => json.clone(),
        }
    }

    fn from_json(value: Value) -> Self {
        if let Some(name) = value["device"].as_str() {
            return Event::Device(name.to_owned());
        }
        if let Some(epoch) = value["epoch_start"].as_u64() {
            return Event::EpochStart(epoch);
        }
        match value["step_end"].as_u64() {
            Some(step) => Event::StepEnd(step),
            None => Event::Other(value),
        }
    }
}

pub(crate) struct LoggerShim(Guard<dyn traits::Logger>);

pub(crate) fn logger(inner: Box<dyn traits::Logger>, who: String) -> abi::LoggerBox {
    abi::Logger_TO::from_value(LoggerShim(Guarded::new(inner, who)), TD_Opaque)
}

impl abi::Logger for LoggerShim {
    fn start(&mut self, run: abi::RunInfoRef<'_>, resume: RStr<'_>) -> AbiResult<()> {
        self.0
            .call_mut("start", |l| l.start(&RunInfo::from_abi(run)?, &parse(resume)?))
    }
    fn log(&mut self, items: List<LogItem>) -> AbiResult<()> {
        self.0.call_mut("log", |l| l.log(&items))
    }
    fn state(&self) -> AbiResult<Text> {
        self.0.call("state", |l| Ok(l.state()?.to_string().into()))
    }
    fn shutdown(&mut self, milliseconds: u64, status: Status) -> AbiResult<()> {
        self.0.call_mut("shutdown", |l| {
            l.shutdown(Duration::from_millis(milliseconds), status)
        })
    }
}

/// The error for a component name that the plugin doesn't have.
pub(crate) fn unknown(kind: &str, name: &str, plugin: &str) -> PluginError {
    PluginError::failed(format!("plugin `{plugin}` has no {kind} `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_a_newer_host_is_passed_on_unchanged() {
        let later = serde_json::json!({"phase": {"name": "warmup"}});
        let event = Event::from_json(later.clone());
        assert_eq!(event, Event::Other(later.clone()));
        assert_eq!(event.to_json(), later);
        for event in [
            Event::Device("cpu".into()),
            Event::EpochStart(2),
            Event::StepEnd(7),
        ] {
            assert_eq!(Event::from_json(event.to_json()), event);
        }
    }

    struct Panics;

    impl traits::DataSet for Panics {
        fn spec(&self) -> LabelSpec {
            panic!("spec")
        }
        fn len(&self) -> usize {
            panic!("len")
        }
        fn problems(&self) -> Vec<Problem> {
            Vec::new()
        }
        fn meta(&self, _: usize) -> Result<RecordMeta> {
            Ok(RecordMeta::default())
        }
        fn record(&self, _: &RecordArgs) -> Result<Record> {
            Ok(Record::default())
        }
    }

    #[test]
    fn a_panic_in_len_or_spec_is_an_error_not_an_empty_default() {
        use crate::abi::DataSet as _;
        let panics = || DataSetShim(Guarded::new(Box::new(Panics), "plugin `p`, data set".to_owned()));
        let error = panics().len().into_result().unwrap_err();
        assert!(error.message.contains("`len` panicked"), "{error}");
        assert!(panics().spec().into_result().is_err());
        assert_eq!(panics().name(3).into_result().unwrap(), "record 3");
    }
}

//! From an author's traits to the binary interface: one wrapper a trait, each call guarded.

use super::guard::Guarded;
use super::traits::{self, Checkpoint, Event};
use crate::abi;
use crate::data::{
    ArrayMut, Artifact, Batch, CollateRule, Fields, Image, LabelSpec, LogItem, Meta, MetricInfo, NamedTensor,
    OpenArgs, Output, Parameter, Prepared, Problem, Record, RecordMeta, Repair, Report, RunInfo, Sample,
    Shape, Status, StepContext,
};
use crate::error::{AbiResult, PluginError, Result};
use abi_stable::erased_types::TD_Opaque;
use abi_stable::std_types::{RResult, RSlice, RStr, RString, RVec};
use serde_json::Value;
use std::time::Duration;

fn parse(json: RStr<'_>) -> Result<Value> {
    if json.is_empty() {
        Ok(Value::Null)
    } else {
        Ok(serde_json::from_str(json.as_str())?)
    }
}

/// Of a method that can't return an error over the interface: the value, or `T`'s default with the error logged.
fn or_default<T: Default>(result: AbiResult<T>) -> T {
    match result {
        RResult::ROk(value) => value,
        RResult::RErr(error) => {
            tracing::error!("{error}");
            T::default()
        }
    }
}

type Guard<T> = Guarded<Box<T>>;

pub(crate) struct TaskShim(Guard<dyn traits::Task>);

pub(crate) fn task(inner: Box<dyn traits::Task>, who: String) -> abi::TaskBox {
    abi::Task_TO::from_value(TaskShim(Guarded::new(inner, who)), TD_Opaque)
}

impl abi::Task for TaskShim {
    fn form(&self) -> RString {
        or_default(self.0.call("form", |t| Ok(t.form().into())))
    }
    fn metrics(&self) -> RVec<MetricInfo> {
        or_default(self.0.call("metrics", |t| Ok(t.metrics().into())))
    }
    fn open(&self, args: abi::OpenArgsRef) -> AbiResult<abi::DataSetBox> {
        self.0.call("open", |t| {
            let data_set = t.open(&OpenArgs::from_abi(args)?)?;
            let shim = DataSetShim(Guarded::new(data_set, format!("{}, data set", self.0.who())));
            Ok(abi::DataSet_TO::from_value(shim, TD_Opaque))
        })
    }
    fn repair(&self, args: abi::OpenArgsRef) -> AbiResult<Repair> {
        self.0.call("repair", |t| t.repair(&OpenArgs::from_abi(args)?))
    }
    fn expand(&self, image: &Image, side: RStr<'_>, spec: &LabelSpec) -> AbiResult<RVec<Record>> {
        self.0
            .call("expand", |t| Ok(t.expand(image, &parse(side)?, spec)?.into()))
    }
    fn evaluator(&self, spec: &LabelSpec, config: RStr<'_>) -> AbiResult<abi::EvaluatorBox> {
        self.0.call("evaluator", |t| {
            let evaluator = t.evaluator(spec, &parse(config)?)?;
            let shim = EvaluatorShim(Guarded::new(evaluator, format!("{}, evaluator", self.0.who())));
            Ok(abi::Evaluator_TO::from_value(shim, TD_Opaque))
        })
    }
    fn to_json(&self, prediction: &Fields, spec: &LabelSpec, options: RStr<'_>) -> AbiResult<RString> {
        self.0.call("to_json", |t| {
            Ok(t.to_json(prediction, spec, &parse(options)?)?.to_string().into())
        })
    }
    fn files(&self, prediction: &Fields, spec: &LabelSpec) -> AbiResult<RVec<Artifact>> {
        self.0.call("files", |t| Ok(t.files(prediction, spec)?.into()))
    }
    fn draw(
        &self,
        prediction: &Fields,
        spec: &LabelSpec,
        canvas: &mut Image,
        options: RStr<'_>,
    ) -> AbiResult<()> {
        self.0
            .call("draw", |t| t.draw(prediction, spec, canvas, &parse(options)?))
    }
}

struct DataSetShim(Guard<dyn traits::DataSet>);

impl abi::DataSet for DataSetShim {
    fn spec(&self) -> LabelSpec {
        or_default(self.0.call("spec", |d| Ok(d.spec())))
    }
    fn len(&self) -> u64 {
        or_default(self.0.call("len", |d| Ok(d.len() as u64)))
    }
    fn problems(&self) -> RVec<Problem> {
        or_default(self.0.call("problems", |d| Ok(d.problems().into())))
    }
    fn meta(&self, index: u64) -> AbiResult<RecordMeta> {
        self.0.call("meta", |d| d.meta(index as usize))
    }
    fn record(&self, index: u64) -> AbiResult<Record> {
        self.0.call("record", |d| d.record(index as usize))
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
    fn state(&self) -> AbiResult<RVec<u8>> {
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

fn checkpoint(json: RStr<'_>) -> Result<Checkpoint> {
    let mut value = parse(json)?;
    Ok(Checkpoint {
        config: value["config"].take(),
        preprocessor: value["preprocessor"].take(),
    })
}

impl abi::Adapter for AdapterShim {
    fn input(&self, files: RStr<'_>, config: RStr<'_>, spec: &LabelSpec) -> AbiResult<abi::InputBox> {
        self.0.call("input", |a| {
            let input = a.input(&checkpoint(files)?, &parse(config)?, spec)?;
            let shim = InputShim(Guarded::new(input, format!("{}, input", self.0.who())));
            Ok(abi::Input_TO::from_value(shim, TD_Opaque))
        })
    }
    fn model(&self, files: RStr<'_>, config: RStr<'_>, spec: &LabelSpec) -> AbiResult<abi::ModelBox> {
        self.0.call("model", |a| {
            let model = a.model(&checkpoint(files)?, &parse(config)?, spec)?;
            let shim = ModelShim(Guarded::new(model, format!("{}, model", self.0.who())));
            Ok(abi::Model_TO::from_value(shim, TD_Opaque))
        })
    }
}

struct InputShim(Guard<dyn traits::Input>);

impl abi::Input for InputShim {
    fn shape(&self, width: u32, height: u32, train: bool) -> AbiResult<Shape> {
        self.0.call("shape", |i| i.shape(width, height, train))
    }
    fn prepare(&self, sample: &Sample, out: ArrayMut<'_>) -> AbiResult<Prepared> {
        self.0.call("prepare", |i| i.prepare(sample, out))
    }
    fn collate(&self) -> RVec<CollateRule> {
        or_default(self.0.call("collate", |i| Ok(i.collate().into())))
    }
    fn config_json(&self) -> AbiResult<RString> {
        self.0
            .call("config_json", |i| Ok(i.config_json()?.to_string().into()))
    }
    fn stride(&self) -> u64 {
        or_default(self.0.call("stride", |i| Ok(i.stride())))
    }
}

struct ModelShim(Guard<dyn traits::Model>);

impl abi::Model for ModelShim {
    fn parameters(&self) -> AbiResult<RVec<Parameter>> {
        self.0.call("parameters", |m| Ok(m.parameters()?.into()))
    }
    fn initialise(&mut self, names: RSlice<'_, RString>) -> AbiResult<()> {
        self.0.call_mut("initialise", |m| {
            let names: Vec<&str> = names.iter().map(RString::as_str).collect();
            m.initialise(&names)
        })
    }
    fn normalisers(&self, batch: &Batch) -> AbiResult<RVec<f64>> {
        self.0.call("normalisers", |m| Ok(m.normalisers(batch)?.into()))
    }
    fn forward(&mut self, batch: &Batch, context: abi::StepContextRef) -> AbiResult<Output> {
        self.0
            .call_mut("forward", |m| m.forward(batch, &StepContext::from_abi(context)))
    }
    fn finish(
        &mut self,
        outputs: RSlice<'_, NamedTensor>,
        metas: RSlice<'_, Meta>,
        options: RStr<'_>,
    ) -> AbiResult<RVec<Fields>> {
        self.0.call_mut("finish", |m| {
            Ok(m.finish(outputs.as_slice(), metas.as_slice(), &parse(options)?)?
                .into())
        })
    }
    fn on_event(&mut self, event: RStr<'_>) -> AbiResult<()> {
        self.0
            .call_mut("on_event", |m| match Event::from_json(&parse(event)?) {
                Some(event) => m.on_event(&event),
                None => Ok(()), // a newer host's event
            })
    }
    fn config_json(&self) -> AbiResult<RString> {
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
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        if let Some(name) = value["device"].as_str() {
            return Some(Event::Device(name.to_owned()));
        }
        if let Some(epoch) = value["epoch_start"].as_u64() {
            return Some(Event::EpochStart(epoch));
        }
        value["step_end"].as_u64().map(Event::StepEnd)
    }
}

pub(crate) struct LoggerShim(Guard<dyn traits::Logger>);

pub(crate) fn logger(inner: Box<dyn traits::Logger>, who: String) -> abi::LoggerBox {
    abi::Logger_TO::from_value(LoggerShim(Guarded::new(inner, who)), TD_Opaque)
}

impl abi::Logger for LoggerShim {
    fn start(&mut self, run: abi::RunInfoRef, resume: RStr<'_>) -> AbiResult<()> {
        self.0
            .call_mut("start", |l| l.start(&RunInfo::from_abi(run)?, &parse(resume)?))
    }
    fn log(&mut self, items: RVec<LogItem>) -> AbiResult<()> {
        self.0.call_mut("log", |l| l.log(&items))
    }
    fn state(&self) -> AbiResult<RString> {
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

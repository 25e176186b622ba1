//! Loads a plugin built before this interface got its additions, and uses what it offers. It also
//! provides the newer base of one of the plugin's adapters, which passes on what it doesn't know.

use cvhost_plugin_api::abi::{
    self, Adapter_TO, AdapterArgsRef, AdapterBox, FinishArgsRef, Host, InputBox, Model_TO, ModelBox,
    NewArgsRef, PluginRef, StepContextRef,
};
use cvhost_plugin_api::abi_stable::erased_types::TD_Opaque;
use cvhost_plugin_api::abi_stable::prefix_type::PrefixTypeTrait;
use cvhost_plugin_api::abi_stable::std_types::{RErr, ROk, RSlice, RStr};
use cvhost_plugin_api::data::{
    Batch, DType, Fields, LabelSpec, List, LogItem, LogKind, OpenArgs, Output, Parameter, RecordArgs, Role,
    RunInfo, Status, Text,
};
use cvhost_plugin_api::error::{AbiResult, PluginError};
use cvhost_plugin_api::sdk::{AdapterArgs, Checkpoint, NewArgs};
use cvhost_plugin_api::serde_json::{Value, json};
use std::path::Path;

extern "C" fn log(_: u32, _: RStr<'_>, _: RStr<'_>) {}
extern "C" fn max_level() -> u32 {
    0
}
extern "C" fn cancelled() -> bool {
    false
}
extern "C" fn adapter(_: NewArgsRef<'_>) -> AbiResult<AdapterBox> {
    ROk(Adapter_TO::from_value(Base, TD_Opaque))
}
extern "C" fn progress(_: RStr<'_>, _: u64, _: u64) {}

/// An adapter of this later version, which prints what it receives.
struct Base;

impl abi::Adapter for Base {
    fn input(&self, _: AdapterArgsRef<'_>) -> AbiResult<InputBox> {
        RErr(PluginError::unsupported("no input"))
    }
    fn model(&self, args: AdapterArgsRef<'_>) -> AbiResult<ModelBox> {
        println!("checkpoint: {}", args.checkpoint());
        println!("adapter extra: {}", args.extra());
        ROk(Model_TO::from_value(BaseModel, TD_Opaque))
    }
}

struct BaseModel;

impl abi::Model for BaseModel {
    fn parameters(&self) -> AbiResult<List<Parameter>> {
        ROk(List::new())
    }
    fn initialise(&mut self, _: RSlice<'_, Text>) -> AbiResult<()> {
        ROk(())
    }
    fn normalisers(&self, _: &Batch) -> AbiResult<List<f64>> {
        ROk(List::new())
    }
    fn forward(&mut self, _: &Batch, _: StepContextRef<'_>) -> AbiResult<Output> {
        RErr(PluginError::unsupported("no forward"))
    }
    fn finish(&mut self, _: FinishArgsRef<'_>) -> AbiResult<List<Fields>> {
        ROk(List::new())
    }
    fn on_event(&mut self, event: RStr<'_>) -> AbiResult<()> {
        println!("event: {event}");
        ROk(())
    }
    fn config_json(&self) -> AbiResult<Text> {
        ROk("{}".into())
    }
}

/// Arguments for a constructor.
fn new(name: &str) -> NewArgs {
    NewArgs::new(name, json!({}))
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(task)) = (arguments.next(), arguments.next()) else {
        panic!("usage: newer-host PLUGIN TASK");
    };
    let plugin: PluginRef = cvhost_plugin_api::load::load(Path::new(&file)).unwrap_or_else(|e| panic!("{e}"));
    let host = Host {
        log,
        max_level,
        cancelled,
        adapter,
        progress,
    };
    plugin.init()(host.leak_into_prefix()).into_result().unwrap();
    let constructor = if plugin.added_later().is_none() {
        "absent"
    } else {
        "present"
    };
    println!("added constructor: {constructor}");
    use_task(plugin, &task);
    use_logger(plugin);
    use_wrapper(plugin);
}

fn use_task(plugin: PluginRef, name: &str) {
    let task = new(name).lend(|args| plugin.task()(args)).into_result().unwrap();
    println!("form: {}", task.form().into_result().unwrap());
    println!("added method: {}", task.added_later());
    let args = OpenArgs {
        split: "val".into(),
        config: json!({}),
        ..OpenArgs::default()
    };
    let data_set = args.lend(|args| task.open(args)).into_result().unwrap();
    println!("records: {}", data_set.len().into_result().unwrap());
    let record = RecordArgs::at(0)
        .lend(|args| data_set.record(args))
        .into_result()
        .unwrap();
    let field = if record.fields.get("side").is_some() {
        "side"
    } else {
        "none"
    };
    println!("field: {field}");
    println!(
        "role and type of a later version: {:?} {:?}",
        Role::LATER,
        DType::LATER
    );
}

/// Passes the logger an item of a kind that it doesn't know.
fn use_logger(plugin: PluginRef) {
    let mut logger = new("counter")
        .lend(|args| plugin.logger()(args))
        .into_result()
        .unwrap();
    let run = RunInfo {
        folder: std::env::temp_dir().display().to_string(),
        ..RunInfo::default()
    };
    run.lend(|run| logger.start(run, RStr::from_str("{}")))
        .into_result()
        .unwrap();
    let item = LogItem::new(LogKind::LATER, 1, 2, "later");
    logger.log(vec![item].into()).into_result().unwrap();
    println!("logger: {}", logger.state().into_result().unwrap());
    logger.shutdown(1000, Status::OK).into_result().unwrap();
}

/// Uses an adapter of the plugin that sits between this host and this base, both newer than itself.
fn use_wrapper(plugin: PluginRef) {
    let wrapper = new("wrapper")
        .lend(|args| plugin.adapter()(args))
        .into_result()
        .unwrap();
    let checkpoint = Checkpoint {
        config: json!({"a": 1}),
        extra: json!({"tokenizer": {"b": 2}}),
        ..Checkpoint::default()
    };
    let (config, spec) = (json!({}), LabelSpec::default());
    let mut args = AdapterArgs::new(&checkpoint, &config, &spec);
    args.extra = json!({"later": true});
    let mut model = args.lend(|args| wrapper.model(args)).into_result().unwrap();
    let event: Value = json!({"phase": {"name": "warmup"}});
    model
        .on_event(RStr::from_str(&event.to_string()))
        .into_result()
        .unwrap();
}

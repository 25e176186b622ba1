//! The binary interface: object-safe traits with stable vtables, and the root module that a plugin exports.
//!
//! Authors don't meet it: they implement the traits of [`sdk`](crate::sdk), and the export macro wraps them. Rules that keep
//! old plugins loading: a trait's methods stay in order, new ones go to its end with a default body; prefix structs grow at
//! their end; configuration crosses as JSON text.

// sabi_trait's generated code trips over these.
#![allow(
    missing_docs,
    non_local_definitions,
    clippy::len_without_is_empty,
    clippy::undocumented_unsafe_blocks
)]

use crate::data::{
    ArrayMut, Artifact, Batch, CollateRule, Fields, Image, LabelSpec, LogItem, Meta, MetricInfo, Mode,
    NamedTensor, Output, Parameter, Prepared, Problem, Record, RecordMeta, Repair, Report, Sample, Shape,
    Status,
};
use crate::error::{AbiResult, PluginError};
use abi_stable::library::RootModule;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RBox, RResult, RSlice, RStr, RString, RVec};
use abi_stable::{StableAbi, package_version_strings, sabi_trait};

/// JSON text.
pub type Json = RString;

/// [`OpenArgs`](crate::data::OpenArgs) as it crosses.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = OpenArgsRef, prefix_fields = OpenArgsPrefix)))]
pub struct OpenArgs {
    pub split: RStr<'static>,
    pub images: RStr<'static>,
    pub annotations: RStr<'static>,
    pub config: RStr<'static>,
    #[sabi(last_prefix_field)]
    pub checkpoint_classes: RSlice<'static, RString>,
    // Later fields of OpenArgs go here.
}

/// [`StepContext`](crate::data::StepContext) as it crosses.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = StepContextRef, prefix_fields = StepContextPrefix)))]
pub struct StepContext {
    pub mode: Mode,
    pub step: u64,
    pub epoch: u64,
    #[sabi(last_prefix_field)]
    pub normalisers: RSlice<'static, f64>,
    // Later fields of StepContext go here.
}

/// [`RunInfo`](crate::data::RunInfo) as it crosses.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = RunInfoRef, prefix_fields = RunInfoPrefix)))]
pub struct RunInfo {
    pub name: RStr<'static>,
    pub folder: RStr<'static>,
    pub config: RStr<'static>,
    #[sabi(last_prefix_field)]
    pub parameters: RStr<'static>,
    // Later fields of RunInfo go here.
}

#[sabi_trait]
pub trait Task: Send + Sync {
    fn form(&self) -> RString;
    fn metrics(&self) -> RVec<MetricInfo>;
    fn open(&self, args: OpenArgsRef) -> AbiResult<DataSetBox>;
    fn expand(&self, image: &Image, side: RStr<'_>, spec: &LabelSpec) -> AbiResult<RVec<Record>>;
    fn evaluator(&self, spec: &LabelSpec, config: RStr<'_>) -> AbiResult<EvaluatorBox>;
    fn to_json(&self, prediction: &Fields, spec: &LabelSpec, options: RStr<'_>) -> AbiResult<Json>;
    fn files(&self, prediction: &Fields, spec: &LabelSpec) -> AbiResult<RVec<Artifact>>;
    #[sabi(last_prefix_field)]
    fn draw(
        &self,
        prediction: &Fields,
        spec: &LabelSpec,
        canvas: &mut Image,
        options: RStr<'_>,
    ) -> AbiResult<()>;
    fn repair(&self, args: OpenArgsRef) -> AbiResult<Repair> {
        let _ = args;
        RResult::RErr(PluginError::unsupported("this task can't repair annotations"))
    }
    // Later methods of Task go here, each with a default body.
}
pub type TaskBox = Task_TO<'static, RBox<()>>;

#[sabi_trait]
pub trait DataSet: Send + Sync {
    fn spec(&self) -> LabelSpec;
    fn len(&self) -> u64;
    fn problems(&self) -> RVec<Problem>;
    fn meta(&self, index: u64) -> AbiResult<RecordMeta>;
    #[sabi(last_prefix_field)]
    fn record(&self, index: u64) -> AbiResult<Record>;
}
pub type DataSetBox = DataSet_TO<'static, RBox<()>>;

#[sabi_trait]
pub trait Evaluator: Send {
    fn update(
        &mut self,
        ids: RSlice<'_, u64>,
        predictions: RSlice<'_, Fields>,
        targets: RSlice<'_, Fields>,
    ) -> AbiResult<()>;
    fn state(&self) -> AbiResult<RVec<u8>>;
    fn merge(&mut self, state: RSlice<'_, u8>) -> AbiResult<()>;
    #[sabi(last_prefix_field)]
    fn compute(&mut self) -> AbiResult<Report>;
}
pub type EvaluatorBox = Evaluator_TO<'static, RBox<()>>;

#[sabi_trait]
pub trait Adapter: Send + Sync {
    fn input(&self, checkpoint: RStr<'_>, config: RStr<'_>, spec: &LabelSpec) -> AbiResult<InputBox>;
    #[sabi(last_prefix_field)]
    fn model(&self, checkpoint: RStr<'_>, config: RStr<'_>, spec: &LabelSpec) -> AbiResult<ModelBox>;
}
pub type AdapterBox = Adapter_TO<'static, RBox<()>>;

#[sabi_trait]
pub trait Input: Send + Sync {
    fn shape(&self, width: u32, height: u32, train: bool) -> AbiResult<Shape>;
    fn prepare(&self, sample: &Sample, out: ArrayMut<'_>) -> AbiResult<Prepared>;
    fn collate(&self) -> RVec<CollateRule>;
    #[sabi(last_prefix_field)]
    fn config_json(&self) -> AbiResult<Json>;
    fn stride(&self) -> u64 {
        0
    }
    // Later methods of Input go here, each with a default body.
}
pub type InputBox = Input_TO<'static, RBox<()>>;

#[sabi_trait]
pub trait Model: Send {
    fn parameters(&self) -> AbiResult<RVec<Parameter>>;
    fn initialise(&mut self, names: RSlice<'_, RString>) -> AbiResult<()>;
    fn normalisers(&self, batch: &Batch) -> AbiResult<RVec<f64>>;
    fn forward(&mut self, batch: &Batch, context: StepContextRef) -> AbiResult<Output>;
    fn finish(
        &mut self,
        outputs: RSlice<'_, NamedTensor>,
        metas: RSlice<'_, Meta>,
        options: RStr<'_>,
    ) -> AbiResult<RVec<Fields>>;
    fn on_event(&mut self, event: RStr<'_>) -> AbiResult<()>;
    #[sabi(last_prefix_field)]
    fn config_json(&self) -> AbiResult<Json>;
}
pub type ModelBox = Model_TO<'static, RBox<()>>;

#[sabi_trait]
pub trait Logger: Send {
    fn start(&mut self, run: RunInfoRef, resume: RStr<'_>) -> AbiResult<()>;
    fn log(&mut self, items: RVec<LogItem>) -> AbiResult<()>;
    fn state(&self) -> AbiResult<Json>;
    #[sabi(last_prefix_field)]
    fn shutdown(&mut self, milliseconds: u64, status: Status) -> AbiResult<()>;
}
pub type LoggerBox = Logger_TO<'static, RBox<()>>;

/// What the host offers to a plugin.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = HostRef, prefix_fields = HostPrefix)))]
#[sabi(missing_field(panic))]
pub struct Host {
    /// Level 1 (error) to 5 (trace), the module that logs, the message with its fields and spans.
    pub log: extern "C" fn(level: u32, target: RStr<'_>, message: RStr<'_>),
    /// The most verbose level that the host wants.
    pub max_level: extern "C" fn() -> u32,
    /// Whether the user has asked to stop; long work should look at it now and then.
    pub cancelled: extern "C" fn() -> bool,
    /// The adapter of that name, of whichever plugin provides it.
    #[sabi(last_prefix_field)]
    pub adapter: extern "C" fn(name: RStr<'_>) -> AbiResult<AdapterBox>,
}

/// What a plugin exports: one typed constructor a kind of component. A new kind is a new field at the end.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRef, prefix_fields = PluginPrefix)))]
pub struct Plugin {
    pub init: extern "C" fn(HostRef) -> AbiResult<()>,
    pub task: extern "C" fn(name: RStr<'_>) -> AbiResult<TaskBox>,
    pub adapter: extern "C" fn(name: RStr<'_>) -> AbiResult<AdapterBox>,
    #[sabi(last_prefix_field)]
    pub logger: extern "C" fn(name: RStr<'_>) -> AbiResult<LoggerBox>,
    // Constructors of later kinds go here.
}

impl RootModule for PluginRef {
    abi_stable::declare_root_module_statics! {PluginRef}
    const BASE_NAME: &'static str = "cvhost_plugin";
    const NAME: &'static str = "cvhost_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

//! The binary interface: object-safe traits with stable vtables, and the root module that a plugin
//! exports.
//!
//! Authors don't meet it: they implement the traits of [`sdk`](crate::sdk), and the export macro
//! wraps them. The rules that keep old plugins loading: a trait's methods stay in order, new ones go
//! to its end with a default body; argument structs are prefix types that grow at their end; structs
//! that cross by value never change, what is new goes into their `extra`; configuration crosses as
//! JSON text.

// sabi_trait's generated code trips over these.
#![allow(
    missing_docs,
    non_local_definitions,
    clippy::len_without_is_empty,
    clippy::undocumented_unsafe_blocks
)]

use crate::data::{
    ArrayMut, Artifact, Batch, CollateRule, Fields, Image, LabelSpec, List, LogItem, Meta, MetricInfo, Mode,
    NamedTensor, Output, Parameter, Prepared, Problem, Record, RecordMeta, Repair, Report, Sample, Shape,
    Status, Text,
};
use crate::error::AbiResult;
use abi_stable::library::RootModule;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RBox, RSlice, RSliceMut, RStr};
use abi_stable::{StableAbi, package_version_strings, sabi_trait};
use std::ffi::c_void;

/// JSON text.
pub type Json = Text;

/// [`NewArgs`](crate::sdk::NewArgs) as it crosses.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = NewArgsRef, prefix_fields = NewArgsPrefix)))]
pub struct NewArgs<'a> {
    pub name: RStr<'a>,
    pub config: RStr<'a>,
    #[sabi(last_prefix_field)]
    pub extra: RStr<'a>,
    // Later fields of NewArgs go here.
}

/// [`OpenArgs`](crate::data::OpenArgs) as it crosses.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = OpenArgsRef, prefix_fields = OpenArgsPrefix)))]
pub struct OpenArgs<'a> {
    pub split: RStr<'a>,
    pub images: RStr<'a>,
    pub annotations: RStr<'a>,
    pub config: RStr<'a>,
    pub checkpoint_classes: RSlice<'a, Text>,
    pub rank: u64,
    pub world_size: u64,
    #[sabi(last_prefix_field)]
    pub extra: RStr<'a>,
    // Later fields of OpenArgs go here.
}

/// [`RecordArgs`](crate::data::RecordArgs) as it crosses.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = RecordArgsRef, prefix_fields = RecordArgsPrefix)))]
pub struct RecordArgs {
    pub index: u64,
    pub epoch: u64,
    #[sabi(last_prefix_field)]
    pub seed: u64,
    // Later fields of RecordArgs go here.
}

/// [`ExpandArgs`](crate::sdk::ExpandArgs) as it crosses.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ExpandArgsRef, prefix_fields = ExpandArgsPrefix)))]
pub struct ExpandArgs<'a> {
    pub image: &'a Image,
    pub prompt: RStr<'a>,
    pub spec: &'a LabelSpec,
    #[sabi(last_prefix_field)]
    pub extra: RStr<'a>,
    // Later fields of ExpandArgs go here.
}

/// [`EvaluatorArgs`](crate::sdk::EvaluatorArgs) as it crosses.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = EvaluatorArgsRef, prefix_fields = EvaluatorArgsPrefix)))]
pub struct EvaluatorArgs<'a> {
    pub spec: &'a LabelSpec,
    pub config: RStr<'a>,
    #[sabi(last_prefix_field)]
    pub extra: RStr<'a>,
    // Later fields of EvaluatorArgs go here.
}

/// [`PredictionArgs`](crate::sdk::PredictionArgs) as it crosses.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PredictionArgsRef, prefix_fields = PredictionArgsPrefix)))]
pub struct PredictionArgs<'a> {
    pub prediction: &'a Fields,
    pub spec: &'a LabelSpec,
    pub options: RStr<'a>,
    #[sabi(last_prefix_field)]
    pub extra: RStr<'a>,
    // Later fields of PredictionArgs go here.
}

/// [`AdapterArgs`](crate::sdk::AdapterArgs) as it crosses.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = AdapterArgsRef, prefix_fields = AdapterArgsPrefix)))]
pub struct AdapterArgs<'a> {
    pub checkpoint: RStr<'a>,
    pub config: RStr<'a>,
    pub spec: &'a LabelSpec,
    #[sabi(last_prefix_field)]
    pub extra: RStr<'a>,
    // Later fields of AdapterArgs go here.
}

/// [`ShapeArgs`](crate::sdk::ShapeArgs) as it crosses.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ShapeArgsRef, prefix_fields = ShapeArgsPrefix)))]
pub struct ShapeArgs {
    pub width: u32,
    pub height: u32,
    #[sabi(last_prefix_field)]
    pub train: bool,
    // Later fields of ShapeArgs go here.
}

/// [`PrepareArgs`](crate::sdk::PrepareArgs) as it crosses.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PrepareArgsRef, prefix_fields = PrepareArgsPrefix)))]
pub struct PrepareArgs<'a> {
    #[sabi(last_prefix_field)]
    pub sample: &'a Sample,
    // Later fields of PrepareArgs go here.
}

/// [`FinishArgs`](crate::sdk::FinishArgs) as it crosses.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = FinishArgsRef, prefix_fields = FinishArgsPrefix)))]
pub struct FinishArgs<'a> {
    pub outputs: RSlice<'a, NamedTensor>,
    pub metas: RSlice<'a, Meta>,
    pub options: RStr<'a>,
    #[sabi(last_prefix_field)]
    pub extra: RStr<'a>,
    // Later fields of FinishArgs go here.
}

/// [`StepContext`](crate::data::StepContext) as it crosses.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = StepContextRef, prefix_fields = StepContextPrefix)))]
pub struct StepContext<'a> {
    pub mode: Mode,
    pub step: u64,
    pub total_steps: u64,
    pub epoch: u64,
    pub normalisers: RSlice<'a, f64>,
    pub rank: u64,
    pub world_size: u64,
    /// Sums values over all ranks, in place. The first argument is `reduce_data`.
    pub reduce: extern "C" fn(*const c_void, RSliceMut<'_, f64>) -> AbiResult<()>,
    /// Valid while the call goes on; null where there is nothing to reduce with.
    pub reduce_data: *const c_void,
    #[sabi(last_prefix_field)]
    pub extra: RStr<'a>,
    // Later fields of StepContext go here.
}

/// [`RunInfo`](crate::data::RunInfo) as it crosses.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = RunInfoRef, prefix_fields = RunInfoPrefix)))]
pub struct RunInfo<'a> {
    pub name: RStr<'a>,
    pub folder: RStr<'a>,
    pub config: RStr<'a>,
    pub parameters: RStr<'a>,
    #[sabi(last_prefix_field)]
    pub extra: RStr<'a>,
    // Later fields of RunInfo go here.
}

#[sabi_trait]
pub trait Task: Send + Sync {
    fn form(&self) -> AbiResult<Text>;
    fn metrics(&self) -> AbiResult<List<MetricInfo>>;
    fn open(&self, args: OpenArgsRef<'_>) -> AbiResult<DataSetBox>;
    fn expand(&self, args: ExpandArgsRef<'_>) -> AbiResult<List<Record>>;
    fn evaluator(&self, args: EvaluatorArgsRef<'_>) -> AbiResult<EvaluatorBox>;
    fn to_json(&self, args: PredictionArgsRef<'_>) -> AbiResult<Json>;
    fn files(&self, args: PredictionArgsRef<'_>) -> AbiResult<List<Artifact>>;
    fn draw(&self, args: PredictionArgsRef<'_>, canvas: &mut Image) -> AbiResult<()>;
    #[sabi(last_prefix_field)]
    fn repair(&self, args: OpenArgsRef<'_>) -> AbiResult<Repair>;
    // Later methods of Task go here, each with a default body.
}
pub type TaskBox = Task_TO<'static, RBox<()>>;

#[sabi_trait]
pub trait DataSet: Send + Sync {
    fn spec(&self) -> AbiResult<LabelSpec>;
    fn len(&self) -> AbiResult<u64>;
    fn problems(&self) -> AbiResult<List<Problem>>;
    fn name(&self, index: u64) -> AbiResult<Text>;
    fn meta(&self, index: u64) -> AbiResult<RecordMeta>;
    #[sabi(last_prefix_field)]
    fn record(&self, args: RecordArgsRef) -> AbiResult<Record>;
    // Later methods of DataSet go here, each with a default body.
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
    fn state(&self) -> AbiResult<List<u8>>;
    fn merge(&mut self, state: RSlice<'_, u8>) -> AbiResult<()>;
    #[sabi(last_prefix_field)]
    fn compute(&mut self) -> AbiResult<Report>;
    // Later methods of Evaluator go here, each with a default body.
}
pub type EvaluatorBox = Evaluator_TO<'static, RBox<()>>;

#[sabi_trait]
pub trait Adapter: Send + Sync {
    fn input(&self, args: AdapterArgsRef<'_>) -> AbiResult<InputBox>;
    #[sabi(last_prefix_field)]
    fn model(&self, args: AdapterArgsRef<'_>) -> AbiResult<ModelBox>;
    // Later methods of Adapter go here, each with a default body.
}
pub type AdapterBox = Adapter_TO<'static, RBox<()>>;

#[sabi_trait]
pub trait Input: Send + Sync {
    fn shape(&self, args: ShapeArgsRef) -> AbiResult<Shape>;
    fn prepare(&self, args: PrepareArgsRef<'_>, out: ArrayMut<'_>) -> AbiResult<Prepared>;
    fn collate(&self) -> AbiResult<List<CollateRule>>;
    fn config_json(&self) -> AbiResult<Json>;
    #[sabi(last_prefix_field)]
    fn stride(&self) -> AbiResult<u64>;
    // Later methods of Input go here, each with a default body.
}
pub type InputBox = Input_TO<'static, RBox<()>>;

#[sabi_trait]
pub trait Model: Send {
    fn parameters(&self) -> AbiResult<List<Parameter>>;
    fn initialise(&mut self, names: RSlice<'_, Text>) -> AbiResult<()>;
    fn normalisers(&self, batch: &Batch) -> AbiResult<List<f64>>;
    fn forward(&mut self, batch: &Batch, context: StepContextRef<'_>) -> AbiResult<Output>;
    fn finish(&mut self, args: FinishArgsRef<'_>) -> AbiResult<List<Fields>>;
    fn on_event(&mut self, event: RStr<'_>) -> AbiResult<()>;
    #[sabi(last_prefix_field)]
    fn config_json(&self) -> AbiResult<Json>;
    // Later methods of Model go here, each with a default body.
}
pub type ModelBox = Model_TO<'static, RBox<()>>;

#[sabi_trait]
pub trait Logger: Send {
    fn start(&mut self, run: RunInfoRef<'_>, resume: RStr<'_>) -> AbiResult<()>;
    fn log(&mut self, items: List<LogItem>) -> AbiResult<()>;
    fn state(&self) -> AbiResult<Json>;
    #[sabi(last_prefix_field)]
    fn shutdown(&mut self, milliseconds: u64, status: Status) -> AbiResult<()>;
    // Later methods of Logger go here, each with a default body.
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
    /// Whether the user has asked to stop; long work should check it now and then.
    pub cancelled: extern "C" fn() -> bool,
    /// The adapter of that name, from whichever plugin provides it.
    pub adapter: extern "C" fn(args: NewArgsRef<'_>) -> AbiResult<AdapterBox>,
    /// Progress of long work: its label, steps done, and all steps (0 where unknown).
    #[sabi(last_prefix_field)]
    pub progress: extern "C" fn(label: RStr<'_>, done: u64, total: u64),
    // Later functions of Host go here.
}

/// What a plugin exports: one typed constructor per kind of component.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRef, prefix_fields = PluginPrefix)))]
pub struct Plugin {
    pub init: extern "C" fn(HostRef) -> AbiResult<()>,
    pub task: extern "C" fn(args: NewArgsRef<'_>) -> AbiResult<TaskBox>,
    pub adapter: extern "C" fn(args: NewArgsRef<'_>) -> AbiResult<AdapterBox>,
    #[sabi(last_prefix_field)]
    pub logger: extern "C" fn(args: NewArgsRef<'_>) -> AbiResult<LoggerBox>,
    // Constructors of later kinds go here.
}

impl RootModule for PluginRef {
    abi_stable::declare_root_module_statics! {PluginRef}
    const BASE_NAME: &'static str = "cvhost_plugin";
    const NAME: &'static str = "cvhost_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

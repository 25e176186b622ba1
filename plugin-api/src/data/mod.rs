//! The named data types that pass between task, host and adapter. One form for all tasks: lists of named arrays, each with
//! a role; the host transforms by role alone.

mod array;
mod batch;
mod fields;
mod image;
mod label;
mod parameter;
mod record;
mod report;
mod run;

pub use array::{Array, ArrayMut, DType, Element};
pub use batch::{
    Batch, BatchItem, Collate, CollateRule, Mode, NamedTensor, Output, StepContext, TensorHandle,
};
pub use fields::{Field, Fields, Role};
pub use image::{Image, ImageSource};
pub use label::{LabelSpec, MetricInfo};
pub use parameter::{Parameter, Tags};
pub use record::{
    Meta, OpenArgs, Prepared, Problem, Record, RecordMeta, Region, Repair, Sample, Severity, Shape,
};
pub use report::{Artifact, Curve, Matrix, Report, Scalar, Table};
pub use run::{LogItem, LogKind, RunInfo, Status};

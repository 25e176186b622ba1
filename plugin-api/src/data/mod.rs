//! The named data types that pass between task, host and adapter. One form for all tasks: lists of
//! named arrays, each with a role; the host transforms by role alone.
//!
//! Every struct that crosses by value has an open tail, `extra`: JSON text, or named arrays in
//! [`Meta`]. What a later version adds goes there, so that the layouts never change.

mod array;
mod batch;
mod containers;
mod fields;
mod image;
mod label;
mod lazy;
mod parameter;
mod record;
mod report;
mod run;

pub use array::{Array, ArrayMut, DType, Element};
pub use batch::{
    Batch, BatchItem, Collate, CollateRule, Mode, NamedTensor, Output, Reduce, StepContext, TensorHandle,
};
pub use containers::{List, Optional, Text};
pub use fields::{Field, Fields, Role};
pub use image::{ColourSpace, Image, ImageSource};
pub use label::{Direction, LabelSpec, MetricInfo};
pub use lazy::{FieldDecoder, FieldSource};
pub use parameter::{Parameter, Tags};
pub use record::{
    Meta, OpenArgs, Prepared, Problem, Record, RecordArgs, RecordMeta, Region, Repair, RepairedFile, Sample,
    Severity, Shape,
};
pub use report::{Artifact, Curve, Matrix, Report, Scalar, Table};
pub use run::{LogItem, LogKind, RunInfo, Status};

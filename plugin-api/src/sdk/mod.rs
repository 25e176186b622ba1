//! What a plugin author implements: ordinary safe traits, and one macro that exports them.
//!
//! The wrappers around an author's types catch panics and turn them into errors that name plugin,
//! component and method. An instance that panicked is not called again, and is leaked rather than
//! dropped.

mod args;
mod delegate;
pub mod export;
mod guard;
mod host;
mod shims;
mod telemetry;
mod traits;

pub use args::{
    AdapterArgs, Checkpoint, EvaluatorArgs, ExpandArgs, FinishArgs, NewArgs, PredictionArgs, PrepareArgs,
    ShapeArgs,
};
pub use export::Components;
pub use host::{adapter, adapter_with, cancelled, progress};
pub use traits::{Adapter, DataSet, Evaluator, Event, Input, Logger, Model, Task};

/// A data set as it crosses, for tests of a host.
#[doc(hidden)]
pub fn wrap_data_set(data_set: Box<dyn DataSet>) -> crate::abi::DataSetBox {
    shims::data_set(data_set, "data set".to_owned())
}

//! What an author of a plugin implements: ordinary safe traits, and one macro that exports them.
//!
//! The wrappers around an author's types catch panics and turn them into errors that say which plugin, component and method
//! panicked; an instance that panicked is not called again, and is leaked rather than dropped.

mod delegate;
pub mod export;
mod guard;
mod host;
mod shims;
mod telemetry;
mod traits;

pub use export::Components;
pub use host::{adapter, cancelled};
pub use traits::{Adapter, Checkpoint, DataSet, Evaluator, Event, Input, Logger, Model, Task};

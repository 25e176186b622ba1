//! From records to batches: decode, augment, prepare, collate, and do it ahead of time on other threads.
//!
//! The way of one sample: [`Source::record`] → [`decode`] → [`augment`] (by role alone, training only) → `Input::prepare`,
//! which writes into its slot of the padded batch → [`HostBatch`] → mixing (by role, training only). The [`Loader`] makes
//! whole batches on its threads and hands them out in an order that only seed and epoch decide.
//!
//! Invariants: nothing here knows a task or a model family; nothing here links libtorch, the engine makes tensors of what
//! comes out; a record's own targets leave untouched, beside the prepared ones.

pub mod augment;
mod broken;
pub mod buffer;
mod cache;
mod collate;
mod decode;
mod loader;
mod mix;
mod order;
mod orientation;
pub mod pool;
mod random;
mod source;
mod subset;
#[cfg(test)]
mod testing;
mod timings;

pub use broken::BrokenRecords;
pub use collate::{HostBatch, HostItem, collate, shape_of};
pub use decode::{Measured, Scaled, check_promises, decode, decode_scaled, measure, recycle, size};
pub use loader::{Batches, Loader, LoaderOptions};
pub use mix::Mixing;
pub use order::OrderOptions;
pub use random::Random;
pub use source::{DataSetSource, Source};
pub use subset::{Subset, divide};
pub use timings::{Stage, Timings};

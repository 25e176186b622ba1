//! The data pipeline from records to batches: decode, augment, prepare and collate, ahead of time
//! on worker threads.
//!
//! Each sample passes through [`Source::record`] → [`decode`] → [`augment`] (by role alone,
//! training only) → `Input::prepare`, which writes into its slot of the padded batch →
//! [`HostBatch`] → mixing (by role, training only). The [`Loader`] builds whole batches on its
//! workers and returns them in an order that depends only on the seed and the epoch.
//!
//! Invariants: this crate doesn't depend on any task or model family, and doesn't link libtorch
//! (the engine turns its output into tensors). A record's own targets are passed through
//! unmodified, next to the prepared ones.

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

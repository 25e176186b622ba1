//! Training: the loop, and what it is made of.

pub mod batch_size;
pub mod buffers;
mod cadence;
pub mod ema;
mod epoch;
mod finite;
pub mod loggers;
mod lr_finder;
pub mod monitor;
pub mod optimizer;
mod pace;
mod parameters;
pub mod profile;
#[cfg(test)]
mod recorded;
mod resume;
pub mod scaler;
pub mod schedule;
mod standing;
pub mod step;
mod trainer;
pub mod values;

pub use lr_finder::{Curve, CurveEnd, RangeTest};
pub use resume::Record;
pub use standing::Standing;
pub use trainer::{Ended, Outcome, Trainer};

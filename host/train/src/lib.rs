//! Training: the loop, its policies, and the events that observers turn into output.
//!
//! | module | does |
//! |---|---|
//! | [`Trainer`] | model, data, policies and strategy of a run; starts and resumes the loop |
//! | `training_loop`, `steps`, `step` | epochs, the steps of an epoch, one step |
//! | `optimization` | optimizer, schedule, averaged weights, loss scale |
//! | `policies`, `finite`, [`monitor`], `cadence` | when to stop, to skip a step, and to save |
//! | `checkpointing`, `resume` | checkpoints of a training in progress, and back |
//! | [`strategy`] | how ranks work together |
//! | [`events`], [`observers`] | the one stream of events, and what is printed and logged from it |
//! | [`batch_size`], `lr_finder`, [`profile`] | tools around a training |

pub mod batch_size;
pub mod buffers;
mod cadence;
mod checkpointing;
pub mod ema;
pub mod events;
mod finite;
mod lr_finder;
pub mod monitor;
pub mod observers;
mod optimization;
pub mod optimizer;
mod pace;
mod parameters;
pub mod pending;
mod policies;
pub mod profile;
mod progress;
#[cfg(test)]
mod recorded;
mod resume;
pub mod scaler;
pub mod schedule;
pub mod step;
mod steps;
pub mod strategy;
mod trainer;
mod training_loop;
mod validation;
pub mod values;

pub use lr_finder::{Curve, CurveEnd, RangeTest};
pub use policies::Policies;
pub use progress::{Position, Progress};
pub use resume::Record;
pub use trainer::{DataSide, Ended, ModelSide, Outcome, Trainer};
pub use validation::Validation;

//! Training: the loop, and what it is made of.

mod finite;
pub mod monitor;
pub mod optimizer;
mod resume;
pub mod schedule;
pub mod step;
mod trainer;

pub use trainer::{Ended, Outcome, Trainer};

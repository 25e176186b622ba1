//! Training: the loop, and what it is made of.

pub mod monitor;
pub mod optimizer;
pub mod schedule;
pub mod step;
mod trainer;

pub use trainer::{Ended, Outcome, Trainer};

//! Training: the loop, and what it is made of.

pub mod ema;
mod epoch;
mod finite;
pub mod monitor;
pub mod optimizer;
mod pace;
pub mod precision;
#[cfg(test)]
mod recorded;
mod resume;
pub mod schedule;
pub mod step;
mod trainer;
pub mod values;

pub use trainer::{Ended, Outcome, Trainer};

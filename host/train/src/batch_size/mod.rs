//! The search for the largest batch that a training step has memory for.

mod gauge;
mod largest;
mod search;
mod untouched;

pub use largest::Largest;
pub use search::{Choice, End, Search};

//! Code shared by the walks: random numbers, drawing, PNG, connected components, evaluator state,
//! layers.

pub mod canvas;
pub mod components;
pub mod geometry;
pub mod layers;
pub mod options;
pub mod png;
pub mod random;
pub mod tally;

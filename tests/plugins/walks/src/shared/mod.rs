//! What the walks share: random numbers, drawing, PNG, connected parts, numbers by record, layers.

pub mod canvas;
pub mod components;
pub mod geometry;
pub mod layers;
pub mod options;
pub mod png;
pub mod random;
pub mod tally;

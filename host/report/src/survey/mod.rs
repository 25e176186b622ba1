//! Looking at every record of a split, whatever its task: pictures as files, targets by their roles.
//!
//! Nothing is kept of a picture but a few numbers, so a survey takes no more memory for a million pictures than their numbers
//! do.

pub mod counts;
pub mod histogram;
pub mod ordered;
pub mod picture;
pub mod targets;

//! Looking at every record of a split, whatever its task: images as files, targets by their roles.
//!
//! Nothing is kept of an image but a few numbers, so a survey takes no more memory for a million images than their numbers
//! do.

pub mod counts;
pub mod histogram;
pub mod image_file;
pub mod ordered;
pub mod targets;

//! Surveys every record of a split, for any task: images as files, targets by their roles.
//!
//! Only a few numbers per image are kept, so even a survey of a million images takes little memory.

pub mod counts;
pub mod histogram;
pub mod image_file;
pub mod ordered;
pub mod targets;

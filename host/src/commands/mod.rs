//! What the launcher answers by itself, one verb a file.

pub mod completions;
pub mod config;
pub mod doctor;
pub mod engine;
pub mod plugin;

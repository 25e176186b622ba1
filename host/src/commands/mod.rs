//! What the launcher answers by itself, one command a file.

pub mod completions;
pub mod config;
pub mod doctor;
pub mod engine;
pub mod plugin;

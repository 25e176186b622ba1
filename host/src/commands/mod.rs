//! The commands that the launcher handles itself, one per file.

pub mod completions;
pub mod config;
pub mod doctor;
pub mod engine;
pub mod plugin;

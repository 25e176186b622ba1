//! The commands of the engine, one per file.

pub mod data;
pub mod eval;
mod find_lr;
pub mod plugin_list;
pub mod predict;
mod prepare;
mod prompts;
mod resumed;
pub mod run;
mod training_run;

//! The engine's verbs, one a file.

pub mod data;
pub mod eval;
mod find_lr;
mod job;
pub mod plugin_list;
pub mod predict;
mod prepare;
mod resumed;
pub mod run;
mod sides;

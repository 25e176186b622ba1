//! The engine's verbs, one a file.

pub mod data;
pub mod eval;
pub mod plugin_list;
pub mod predict;
pub mod run;
mod sides;

//! The parts of the host that don't need libtorch: the command line, the configuration, plugin
//! discovery from file contents, and locating libtorch.

pub mod atomic;
pub mod cli;
pub mod config;
pub mod error;
pub mod interrupt;
pub mod libtorch;
pub mod logging;
pub mod machine;
pub mod output;
pub mod plugin_error;
pub mod plugins;
pub mod progress;

//! Everything of the host that needs no libtorch: the command line, the configuration, what plugin files say of themselves,
//! and where libtorch is.

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

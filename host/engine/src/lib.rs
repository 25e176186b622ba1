//! Trains, evaluates and predicts with plugins on libtorch.

pub mod batch_size;
pub mod commands;
pub mod loading;
pub mod registry;

pub mod run_folder;
pub mod session;
pub mod splits;
pub mod telemetry;
pub mod visual;

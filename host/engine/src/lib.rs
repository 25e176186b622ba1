//! Trains, evaluates and predicts with plugins on libtorch.

pub mod batch;
pub mod batch_size;
pub mod checkpoint;
pub mod evaluate;
pub mod interrupt;
pub mod loading;
pub mod loggers;
pub mod memory;
pub mod network;
pub mod page;
pub mod pictures;
pub mod plugins;
pub mod profile;
pub mod progress;
pub mod run_folder;
pub mod scalars;
pub mod session;
pub mod shim;
pub mod sketch;
pub mod splits;
pub mod summary;
pub mod survey;
pub mod telemetry;
pub mod train;
pub mod verbs;
pub mod visual;

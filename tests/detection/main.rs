//! Detection from end to end: the programs as a user runs them, on a small COCO dataset and tiny
//! checkpoints.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests may panic

mod before_training;
mod bench;
mod checkpoints;
mod config_errors;
mod data_errors;
mod disk;
mod fixed_keys;
mod hub;
mod interrupt;
mod kills;
mod loading;
mod mended;
mod metrics;
mod profile;
mod resume;
mod swap;
mod swap_input;
mod training;
mod transformers;
mod verbs;

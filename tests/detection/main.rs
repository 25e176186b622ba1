//! Detection from end to end: the programs as a user runs them, on a small COCO data set and tiny checkpoints.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that can't go on has failed

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

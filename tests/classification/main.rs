//! Classification from end to end: the programs as a user runs them, on a small data set and tiny models.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that can't go on has failed

mod bench;
mod data_errors;
mod fixed_keys;
mod metrics;
mod multi_label;
mod predict;
mod transformers;
mod verbs;

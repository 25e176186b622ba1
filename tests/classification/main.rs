//! Classification from end to end: the programs as a user runs them, on a small dataset and tiny
//! models.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests may panic

mod bench;
mod data_errors;
mod fixed_keys;
mod metrics;
mod multi_label;
mod predict;
mod transformers;
mod verbs;

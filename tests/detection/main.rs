//! Detection from end to end: the programs as a user runs them, on a small COCO data set and tiny checkpoints.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that can't go on has failed

#[allow(dead_code)] // the error tests, not declared yet, use the rest
mod bench;
mod metrics;
mod verbs;

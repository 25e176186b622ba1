//! `cvhost data …` from end to end: the built programs on small data sets with known faults and known numbers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that can't go on has failed

mod bench;
mod check;
mod preview;
mod repair;
mod stats;
mod usage;

//! `cvhost data …` from end to end: the built programs on small datasets with known faults and
//! known statistics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests may panic

mod bench;
mod check;
mod preview;
mod repair;
mod stats;
mod usage;

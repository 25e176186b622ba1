//! Adapters against what transformers computes, through the built cdylib and the host's loader.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod classification;
mod detection;
mod names;
mod training;

/// Outputs and pixels: largest difference over 1 + the largest reference value.
const OUTPUT: f64 = 2e-4;
/// Losses and parts, relative.
const LOSS: f64 = 1e-4;
/// A gradient's ‖difference‖ / ‖reference‖.
const GRADIENT: f64 = 5e-3;

/// Makes a module of tests for each case, of the functions of that name.
macro_rules! for_each_case {
    ([$($case:ident),* $(,)?], $checks:tt) => {
        $(mod $case { crate::for_each_check!($case, $checks); })*
    };
}

macro_rules! for_each_check {
    ($case:ident, [$($check:ident),* $(,)?]) => {
        $(#[test] fn $check() { super::$check(stringify!($case)); })*
    };
}

use {for_each_case, for_each_check};

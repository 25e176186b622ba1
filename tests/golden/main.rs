//! Adapters compared with transformers, through the built cdylib and the host's loader.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod classification;
mod detection;
mod names;
mod training;

/// Tolerance for outputs and pixels: largest difference / (1 + largest reference value).
const OUTPUT: f64 = 2e-4;
/// Relative tolerance for losses and their components.
const LOSS: f64 = 1e-4;
/// Tolerance for gradients: ‖difference‖ / ‖reference‖.
const GRADIENT: f64 = 5e-3;

/// Defines a test module for each case, with a test for each of the named functions.
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

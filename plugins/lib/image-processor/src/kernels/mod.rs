//! The inner loops of image processing. Each exists in plain Rust and in a version for CPUs with
//! AVX2 and FMA, with identical results; the version is chosen at run time. All of this crate's
//! unsafe code is here.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod plain;
#[cfg(test)]
mod tests;

use crate::resize::{Taps, WEIGHT_BITS};
use crate::values::Values;

/// Rows per step of the horizontal pass, one per vector lane.
pub(crate) const ROWS: usize = 8;

/// Sums start at one half, so that dropping the fraction bits rounds.
const HALF: i32 = 1 << (WEIGHT_BITS - 1);

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma")
}

/// Calls the fastest version of the named kernel that this CPU supports.
macro_rules! dispatch {
    ($kernel:ident($($argument:expr),*)) => {{
        #[cfg(target_arch = "x86_64")]
        if has_avx2() {
            // SAFETY: the CPU supports AVX2 and FMA, the only requirement of the function.
            return unsafe { avx2::$kernel($($argument),*) };
        }
        plain::$kernel($($argument),*)
    }};
}

/// Transposes [`ROWS`] rows into columns: `out[i]` holds byte `i` of every row. Row `k` starts at
/// byte `k · stride` of `rows`; entries for missing rows or bytes are left unchanged.
pub(crate) fn to_columns(rows: &[u8], stride: usize, out: &mut [[u8; ROWS]]) {
    dispatch!(to_columns(rows, stride, out))
}

/// The inverse of [`to_columns`]: writes the first `count` rows, row `k` at byte `k · stride` of
/// `out`.
pub(crate) fn to_rows(columns: &[[u8; ROWS]], count: usize, stride: usize, out: &mut [u8]) {
    dispatch!(to_rows(columns, count, stride, out))
}

/// Resizes [`ROWS`] rows along x. `columns` has three entries per pixel, one per channel, and
/// starts at input position `first`; `out` receives the new columns in the same order.
pub(crate) fn along_x(columns: &[[u8; ROWS]], first: usize, taps: &Taps, out: &mut [[u8; ROWS]]) {
    dispatch!(along_x(columns, first, taps, out))
}

/// Computes one row of the image resized along y. `rows` holds the contributing input rows,
/// `stride` bytes apart, one per weight; `out` is as long as the wanted part of a row.
pub(crate) fn along_y(rows: &[u8], stride: usize, weights: &[i32], out: &mut [u8]) {
    dispatch!(along_y(rows, stride, weights, out))
}

/// Converts channel `channel` of a row of RGB pixels to model input values.
pub(crate) fn to_values(rgb: &[u8], channel: usize, values: &Values, out: &mut [f32]) {
    dispatch!(to_values(rgb, channel, values, out))
}

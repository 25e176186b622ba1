//! The inner loops of a processor. Each is written once in plain Rust and once for processors with AVX2 and FMA, with the same
//! results; which one runs is chosen at run time. This crate's unsafe code is here.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod plain;
#[cfg(test)]
mod tests;

use crate::resize::{Taps, WEIGHT_BITS};
use crate::values::Values;

/// Rows that the horizontal pass takes at once, a vector lane each.
pub(crate) const ROWS: usize = 8;

/// Sums start at one half, so that cutting the fraction off rounds.
const HALF: i32 = 1 << (WEIGHT_BITS - 1);

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma")
}

/// Calls the named kernel in the best way that this processor has.
macro_rules! dispatch {
    ($kernel:ident($($argument:expr),*)) => {{
        #[cfg(target_arch = "x86_64")]
        if has_avx2() {
            // SAFETY: the processor has AVX2 and FMA, which is all that the function asks for.
            return unsafe { avx2::$kernel($($argument),*) };
        }
        plain::$kernel($($argument),*)
    }};
}

/// Turns [`ROWS`] rows into columns: `out[i]` is byte `i` of every row. Row `k` begins at byte `k · stride` of `rows`; where
/// there are fewer rows or bytes, what is missing stays as it was.
pub(crate) fn to_columns(rows: &[u8], stride: usize, out: &mut [[u8; ROWS]]) {
    dispatch!(to_columns(rows, stride, out))
}

/// The reverse of [`to_columns`]: the first `count` rows, each written to `k · stride` of `out`.
pub(crate) fn to_rows(columns: &[[u8; ROWS]], count: usize, stride: usize, out: &mut [u8]) {
    dispatch!(to_rows(columns, count, stride, out))
}

/// Resizes [`ROWS`] rows along x. `columns` has three entries a pixel, one a channel, and begins at input position `first`;
/// `out` gets the new columns in the same order.
pub(crate) fn along_x(columns: &[[u8; ROWS]], first: usize, taps: &Taps, out: &mut [[u8; ROWS]]) {
    dispatch!(along_x(columns, first, taps, out))
}

/// One row of the image resized along y. The input rows that it is made of lie `stride` bytes apart in `rows`, one for each
/// weight; `out` is as long as the part of them that is wanted.
pub(crate) fn along_y(rows: &[u8], stride: usize, weights: &[i32], out: &mut [u8]) {
    dispatch!(along_y(rows, stride, weights, out))
}

/// Channel `channel` of a row of RGB pixels as the model's values.
pub(crate) fn to_values(rgb: &[u8], channel: usize, values: &Values, out: &mut [f32]) {
    dispatch!(to_values(rgb, channel, values, out))
}

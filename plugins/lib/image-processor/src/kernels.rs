//! The two inner loops of a resize, compiled for AVX2 as well; the processor chooses at run time. This crate's unsafe code is
//! here.

use crate::resize::{Taps, WEIGHT_BITS};

/// Rows that the horizontal pass takes at once, a vector lane each.
pub(crate) const ROWS: usize = 8;
/// Values of one pixel column of such a block: three channels.
pub(crate) const COLUMN: usize = 3 * ROWS;
/// Values that the vertical pass takes at once.
const BLOCK: usize = 32;

/// Resizes [`ROWS`] rows along x. `columns` holds, a pixel column after the other, the rows' values of channel 0, then 1, then
/// 2; `out` gets the new columns in the same order.
pub(crate) fn along_x(columns: &[u8], taps: &Taps, out: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        return unsafe { along_x_avx2(columns, taps, out) };
    }
    along_x_generic(columns, taps, out);
}

/// One row of the picture resized along y: `rows` holds the input rows that it is made of, `width` values each.
pub(crate) fn along_y(rows: &[u8], width: usize, weights: &[i32], out: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        return unsafe { along_y_avx2(rows, width, weights, out) };
    }
    along_y_generic(rows, width, weights, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn along_x_avx2(columns: &[u8], taps: &Taps, out: &mut [u8]) {
    along_x_generic(columns, taps, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn along_y_avx2(rows: &[u8], width: usize, weights: &[i32], out: &mut [u8]) {
    along_y_generic(rows, width, weights, out);
}

#[inline(always)]
fn along_x_generic(columns: &[u8], taps: &Taps, out: &mut [u8]) {
    let (columns, _) = columns.as_chunks::<COLUMN>();
    let (out, _) = out.as_chunks_mut::<COLUMN>();
    for ((start, weights), target) in taps.iter().zip(out) {
        let mut sums = [HALF; COLUMN];
        for (source, &weight) in columns.get(start..).unwrap_or_default().iter().zip(weights) {
            add_weighted(&mut sums, source, weight);
        }
        round(&sums, target);
    }
}

#[inline(always)]
fn along_y_generic(rows: &[u8], width: usize, weights: &[i32], out: &mut [u8]) {
    let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
    let covered = blocks.len() * BLOCK;
    for (index, target) in blocks.iter_mut().enumerate() {
        let mut sums = [HALF; BLOCK];
        for (row, &weight) in rows.chunks_exact(width).zip(weights) {
            if let Some(source) = row.get(index * BLOCK..).and_then(|r| r.first_chunk()) {
                add_weighted(&mut sums, source, weight);
            }
        }
        round(&sums, target);
    }
    for (index, target) in rest.iter_mut().enumerate() {
        let mut sum = [HALF; 1];
        for (row, &weight) in rows.chunks_exact(width).zip(weights) {
            if let Some(source) = row.get(covered + index..).and_then(|r| r.first_chunk()) {
                add_weighted(&mut sum, source, weight);
            }
        }
        round(&sum, std::array::from_mut(target));
    }
}

/// Sums start at one half, so that cutting the fraction off rounds.
const HALF: i32 = 1 << (WEIGHT_BITS - 1);

/// The sums fit by the choice of [`WEIGHT_BITS`]; wrapping arithmetic spares the overflow checks, which would keep the loop
/// from becoming vector code.
#[inline(always)]
fn add_weighted<const N: usize>(sums: &mut [i32; N], source: &[u8; N], weight: i32) {
    for (sum, &value) in sums.iter_mut().zip(source) {
        *sum = sum.wrapping_add(i32::from(value).wrapping_mul(weight));
    }
}

#[inline(always)]
fn round<const N: usize>(sums: &[i32; N], target: &mut [u8; N]) {
    for (value, sum) in target.iter_mut().zip(sums) {
        *value = (sum >> WEIGHT_BITS).clamp(0, 255) as u8;
    }
}

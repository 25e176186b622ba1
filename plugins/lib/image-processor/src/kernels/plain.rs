//! The kernels in plain Rust: the portable versions, against which the others are tested.

use super::{HALF, ROWS};
use crate::resize::{Taps, WEIGHT_BITS};
use crate::values::Values;

/// Values per step of the vertical pass.
const BLOCK: usize = 32;

pub(super) fn to_columns(rows: &[u8], stride: usize, out: &mut [[u8; ROWS]]) {
    columns_from(rows, stride, 0, out);
}

/// Like [`to_columns`], but starts at entry `first`.
pub(super) fn columns_from(rows: &[u8], stride: usize, first: usize, out: &mut [[u8; ROWS]]) {
    for lane in 0..ROWS {
        let row = rows.get(lane * stride + first..).unwrap_or_default();
        for (column, &value) in out.iter_mut().skip(first).zip(row) {
            column[lane] = value;
        }
    }
}

pub(super) fn to_rows(columns: &[[u8; ROWS]], count: usize, stride: usize, out: &mut [u8]) {
    rows_from(columns, count, stride, 0, out);
}

/// Like [`to_rows`], but starts at entry `first`.
pub(super) fn rows_from(columns: &[[u8; ROWS]], count: usize, stride: usize, first: usize, out: &mut [u8]) {
    for lane in 0..count.min(ROWS) {
        let row = out.get_mut(lane * stride + first..).unwrap_or_default();
        for (value, column) in row.iter_mut().zip(columns.iter().skip(first)) {
            *value = column[lane];
        }
    }
}

pub(super) fn along_x(columns: &[[u8; ROWS]], first: usize, taps: &Taps, out: &mut [[u8; ROWS]]) {
    let (columns, _) = columns.as_chunks::<3>();
    let (out, _) = out.as_chunks_mut::<3>();
    for ((start, weights), target) in taps.iter().zip(out) {
        let mut sums = [[HALF; ROWS]; 3];
        let sources = columns.get(start.saturating_sub(first)..).unwrap_or_default();
        for (source, &weight) in sources.iter().zip(weights) {
            for (sums, source) in sums.iter_mut().zip(source) {
                add_weighted(sums, source, weight);
            }
        }
        for (sums, target) in sums.iter().zip(target) {
            round(sums, target);
        }
    }
}

pub(super) fn along_y(rows: &[u8], stride: usize, weights: &[i32], out: &mut [u8]) {
    let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
    let covered = blocks.len() * BLOCK;
    for (index, target) in blocks.iter_mut().enumerate() {
        weighted_rows(rows, stride, index * BLOCK, weights, target);
    }
    for (index, target) in rest.iter_mut().enumerate() {
        weighted_rows(
            rows,
            stride,
            covered + index,
            weights,
            std::array::from_mut(target),
        );
    }
}

/// Computes `N` values of the vertical pass, starting at value `at` of each row.
fn weighted_rows<const N: usize>(
    rows: &[u8],
    stride: usize,
    at: usize,
    weights: &[i32],
    target: &mut [u8; N],
) {
    let mut sums = [HALF; N];
    for (row, &weight) in weights.iter().enumerate() {
        if let Some(source) = rows.get(row * stride + at..).and_then(|r| r.first_chunk()) {
            add_weighted(&mut sums, source, weight);
        }
    }
    round(&sums, target);
}

pub(super) fn to_values(rgb: &[u8], channel: usize, values: &Values, out: &mut [f32]) {
    let Some(table) = values.table.get(channel) else {
        return;
    };
    let (pixels, _) = rgb.as_chunks::<3>();
    for (value, pixel) in out.iter_mut().zip(pixels) {
        if let Some(&byte) = pixel.get(channel) {
            *value = table[usize::from(byte)];
        }
    }
}

/// The sums can't overflow by the choice of [`WEIGHT_BITS`]; wrapping arithmetic avoids the
/// overflow checks, which would prevent vectorisation of the loop.
fn add_weighted<const N: usize>(sums: &mut [i32; N], source: &[u8; N], weight: i32) {
    for (sum, &value) in sums.iter_mut().zip(source) {
        *sum = sum.wrapping_add(i32::from(value).wrapping_mul(weight));
    }
}

fn round<const N: usize>(sums: &[i32; N], target: &mut [u8; N]) {
    for (value, sum) in target.iter_mut().zip(sums) {
        *value = (sum >> WEIGHT_BITS).clamp(0, 255) as u8;
    }
}

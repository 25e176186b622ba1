//! The kernels for x86-64 with AVX2 and FMA. Full blocks use vector registers; the remainder is
//! handled by [`super::plain`].

use super::{HALF, ROWS, plain};
use crate::resize::{Taps, WEIGHT_BITS};
use crate::values::Values;
use std::arch::x86_64::*;
use std::mem::transmute;

/// Entries per step of the transpositions.
const SIDE: usize = 16;
/// Values per step of the vertical pass.
const BLOCK: usize = 32;
const SHIFT: i32 = WEIGHT_BITS as i32;

#[target_feature(enable = "avx2,fma")]
pub(super) fn to_columns(rows: &[u8], stride: usize, out: &mut [[u8; ROWS]]) {
    let mut sources: [&[[u8; SIDE]]; ROWS] = [&[]; ROWS];
    for (lane, source) in sources.iter_mut().enumerate() {
        *source = rows.get(lane * stride..).unwrap_or_default().as_chunks().0;
    }
    let [a, b, c, d, e, f, g, h] = sources;
    let (blocks, _) = out.as_chunks_mut::<SIDE>();
    let mut done = 0;
    let rows_at_once = a.iter().zip(b).zip(c).zip(d).zip(e).zip(f).zip(g).zip(h);
    for (target, (((((((a, b), c), d), e), f), g), h)) in blocks.iter_mut().zip(rows_at_once) {
        let lanes = [
            load(a),
            load(b),
            load(c),
            load(d),
            load(e),
            load(f),
            load(g),
            load(h),
        ];
        let columns = shuffled(shuffled(shuffled(lanes)));
        let (pairs, _) = target.as_flattened_mut().as_chunks_mut::<SIDE>();
        for (pair, two) in pairs.iter_mut().zip(columns) {
            *pair = bytes_of(two);
        }
        done += SIDE;
    }
    plain::columns_from(rows, stride, done, out);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn to_rows(columns: &[[u8; ROWS]], count: usize, stride: usize, out: &mut [u8]) {
    let (blocks, _) = columns.as_chunks::<SIDE>();
    for (index, block) in blocks.iter().enumerate() {
        let (pairs, _) = block.as_flattened().as_chunks::<SIDE>();
        let [a, b, c, d, e, f, g, h] = pairs else { continue };
        let pairs = [
            load(a),
            load(b),
            load(c),
            load(d),
            load(e),
            load(f),
            load(g),
            load(h),
        ];
        let rows = shuffled(shuffled(shuffled(shuffled(pairs))));
        for (lane, &row) in rows.iter().enumerate().take(count) {
            let target = out.get_mut(lane * stride + index * SIDE..);
            if let Some(target) = target.and_then(|r| r.first_chunk_mut()) {
                *target = bytes_of(row);
            }
        }
    }
    plain::rows_from(columns, count, stride, blocks.len() * SIDE, out);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn along_x(columns: &[[u8; ROWS]], first: usize, taps: &Taps, out: &mut [[u8; ROWS]]) {
    let (columns, _) = columns.as_chunks::<3>();
    let (out, _) = out.as_chunks_mut::<3>();
    for ((start, weights), target) in taps.iter().zip(out) {
        let mut sums = [_mm256_set1_epi32(HALF); 3];
        let sources = columns.get(start.saturating_sub(first)..).unwrap_or_default();
        for (source, &weight) in sources.iter().zip(weights) {
            let weight = _mm256_set1_epi32(weight);
            for (sum, channel) in sums.iter_mut().zip(source) {
                *sum = _mm256_add_epi32(*sum, _mm256_mullo_epi32(widened(channel), weight));
            }
        }
        let bytes = rounded([sums[0], sums[1], sums[2], sums[2]]);
        let bytes = bytes_of_256(bytes);
        if let ([a, b, c, _], _) = bytes.as_chunks() {
            *target = [*a, *b, *c];
        }
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn along_y(rows: &[u8], stride: usize, weights: &[i32], out: &mut [u8]) {
    let length = out.len();
    let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
    for (index, target) in blocks.iter_mut().enumerate() {
        *target = block_along_y(rows, stride, index * BLOCK, weights);
    }
    if rest.is_empty() {
        return;
    }
    // The last block may overlap the previous one; the overlapping values are identical.
    match out.last_chunk_mut() {
        Some(target) => *target = block_along_y(rows, stride, length - BLOCK, weights),
        None => plain::along_y(rows, stride, weights, out),
    }
}

/// The vertical pass for one block of values starting at `at`.
#[target_feature(enable = "avx2")]
fn block_along_y(rows: &[u8], stride: usize, at: usize, weights: &[i32]) -> [u8; BLOCK] {
    let mut sums = [_mm256_set1_epi32(HALF); 4];
    for (row, &weight) in weights.iter().enumerate() {
        let source: Option<&[u8; BLOCK]> = rows.get(row * stride + at..).and_then(|r| r.first_chunk());
        let Some(source) = source else { continue };
        let weight = _mm256_set1_epi32(weight);
        let (eights, _) = source.as_chunks::<ROWS>();
        for (sum, eight) in sums.iter_mut().zip(eights) {
            *sum = _mm256_add_epi32(*sum, _mm256_mullo_epi32(widened(eight), weight));
        }
    }
    bytes_of_256(rounded(sums))
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn to_values(rgb: &[u8], channel: usize, values: &Values, out: &mut [f32]) {
    let Some(rule) = values.rule.as_ref().and_then(|rule| rule.get(channel)) else {
        return plain::to_values(rgb, channel, values, out);
    };
    let (high, low) = (
        _mm256_set1_ps(rule.rescale_high),
        _mm256_set1_ps(rule.rescale_low),
    );
    let (mean, std) = (_mm256_set1_ps(rule.mean), _mm256_set1_ps(rule.std));
    // Byte `channel` of four pixels per half, each in a 32-bit word. The upper half starts at pixel
    // 4, at byte offset 4.
    let at = |byte: usize| (byte + channel) as i32 | !0xff;
    let pick = _mm256_setr_epi32(at(0), at(3), at(6), at(9), at(4), at(7), at(10), at(13));
    let (pixels, _) = rgb.as_chunks::<24>();
    let (targets, _) = out.as_chunks_mut::<8>();
    let mut done = 0;
    for (target, source) in targets.iter_mut().zip(pixels) {
        let (Some(first), Some(last)) = (source.first_chunk(), source.last_chunk()) else {
            break;
        };
        let bytes = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load(first)), load(last));
        let pixels = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(bytes, pick));
        let scaled = _mm256_fmadd_ps(pixels, high, _mm256_mul_ps(pixels, low));
        *target = floats_of(_mm256_div_ps(_mm256_sub_ps(scaled, mean), std));
        done += 8;
    }
    plain::to_values(
        rgb.get(3 * done..).unwrap_or_default(),
        channel,
        values,
        out.get_mut(done..).unwrap_or_default(),
    );
}

/// One perfect shuffle of 128 bytes, which rotates the 7-bit byte positions left by one bit. Three
/// rounds turn 8 rows of 16 bytes into 16 columns of 8; four rounds reverse that.
#[target_feature(enable = "avx2")]
fn shuffled([a, b, c, d, e, f, g, h]: [__m128i; ROWS]) -> [__m128i; ROWS] {
    [
        _mm_unpacklo_epi8(a, e),
        _mm_unpackhi_epi8(a, e),
        _mm_unpacklo_epi8(b, f),
        _mm_unpackhi_epi8(b, f),
        _mm_unpacklo_epi8(c, g),
        _mm_unpackhi_epi8(c, g),
        _mm_unpacklo_epi8(d, h),
        _mm_unpackhi_epi8(d, h),
    ]
}

/// Four vectors of 8 sums each, with the fraction bits dropped and clamped to 0..=255, in order.
#[target_feature(enable = "avx2")]
fn rounded(sums: [__m256i; 4]) -> __m256i {
    let [a, b, c, d] = sums;
    let first = _mm256_packs_epi32(_mm256_srai_epi32::<SHIFT>(a), _mm256_srai_epi32::<SHIFT>(b));
    let last = _mm256_packs_epi32(_mm256_srai_epi32::<SHIFT>(c), _mm256_srai_epi32::<SHIFT>(d));
    let bytes = _mm256_packus_epi16(first, last);
    // Packing operates per half: it yields groups of four bytes of a, b, c, d, then the other four
    // of each.
    _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
}

#[target_feature(enable = "avx2")]
fn widened(eight: &[u8; ROWS]) -> __m256i {
    _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_ne_bytes(*eight)))
}

// The load and store intrinsics check their pointers in builds with this workspace's profile; a
// transmute doesn't.

#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; SIDE]) -> __m128i {
    // SAFETY: both types are 16 bytes, and every bit pattern is valid.
    unsafe { transmute(*bytes) }
}

#[target_feature(enable = "avx2")]
fn bytes_of(vector: __m128i) -> [u8; SIDE] {
    // SAFETY: both types are 16 bytes, and every bit pattern is valid.
    unsafe { transmute(vector) }
}

#[target_feature(enable = "avx2")]
fn bytes_of_256(vector: __m256i) -> [u8; BLOCK] {
    // SAFETY: both types are 32 bytes, and every bit pattern is valid.
    unsafe { transmute(vector) }
}

#[target_feature(enable = "avx2")]
fn floats_of(vector: __m256) -> [f32; 8] {
    // SAFETY: both types are 8 floats.
    unsafe { transmute(vector) }
}

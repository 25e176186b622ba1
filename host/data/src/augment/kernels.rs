//! The inner loops of augmentation, also compiled for AVX2; the implementation is selected at run
//! time by the CPU's features. All unsafe code of this folder is here. Each function returns
//! identical bytes on every CPU.

use super::pixels::{self, Gaussian, Hsv, Row};

/// Defines functions that the compiler can vectorize for the current CPU.
macro_rules! dispatch {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
        $(#[$doc])*
        pub fn $name($($arg: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            if std::is_x86_feature_detected!("avx2") {
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $type),*) $(-> $result)? {
                    pixels::$name($($arg),*)
                }
                // SAFETY: the CPU has AVX2, which is the function's only requirement.
                return unsafe { avx2($($arg),*) };
            }
            pixels::$name($($arg),*)
        }
    )*};
}

dispatch! {
    /// Computes `v * gain + offset` for every byte, rounded; v and offset are on a scale from 0 to
    /// 255.
    tone(bytes: &mut [u8], gain: f32, offset: f32);
    /// Blends every RGB pixel with its own grey: 0 yields grey, 1 leaves the pixel unchanged.
    saturate(pixels: &mut [[u8; 3]], factor: f32);
    /// Shifts hue, saturation and value of every RGB pixel.
    shift_hsv(pixels: &mut [[u8; 3]], shift: Hsv);
    /// The sum of the grey values of RGB pixels.
    grey_sum(pixels: &[[u8; 3]]) -> u64;
    /// Computes `target + (other - target) * weight / 256`, rounded; the weight is from 0 to 256.
    blend(target: &mut [u8], other: &[u8], weight: u16);
}

/// Writes RGB pixels in reverse order. Both slices have the same length.
pub fn reversed(source: &[[u8; 3]], target: &mut [[u8; 3]]) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2, which is the function's only requirement.
        return unsafe { simd::reversed(source, target) };
    }
    pixels::reversed(source, target);
}

/// Computes one row of a warped image, see [`pixels::warp_row`].
pub fn warp_row(source: &[[u8; 3]], size: [usize; 2], row: &Row, fill: [u8; 3], target: &mut [[u8; 3]]) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") && source.len() == size[0] * size[1] && source.len() < 1 << 29 {
        // SAFETY: the CPU has AVX2, and the source has the given size, with offsets that fit i32.
        return unsafe { simd::warp_row(source, size, row, fill, target) };
    }
    pixels::warp_row(source, size, row, fill, target, 0);
}

/// Computes the weighted sum of slices, see [`pixels::mix`].
pub fn mix(taps: &[&[u8]], gaussian: &Gaussian, out: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2")
        && taps.len() == 2 * gaussian.radius() + 1
        && taps.iter().all(|t| t.len() == out.len())
    {
        // SAFETY: the CPU has AVX2, there is one tap per weight, and all are as long as `out`.
        return unsafe { simd::mix(taps, gaussian, out) };
    }
    pixels::mix(taps, gaussian, out, 0);
}

#[cfg(target_arch = "x86_64")]
mod simd {
    use super::pixels::{self, Gaussian, Row};
    use std::arch::x86_64::*;

    /// A value at an unaligned address. The load intrinsics of `std::arch` check for overlap in
    /// builds with debug assertions, which all builds of this workspace have.
    #[derive(Clone, Copy)]
    #[repr(C, packed)]
    struct Unaligned<T>(T);

    /// # Safety
    /// The bytes of a `T` must be readable at `at`, and any bytes must be a valid `T`.
    #[inline(always)]
    unsafe fn read<T: Copy>(at: *const u8) -> T {
        // SAFETY: guaranteed by the caller.
        unsafe { (*at.cast::<Unaligned<T>>()).0 }
    }

    /// # Safety
    /// The bytes of a `T` must be writable at `at`.
    #[inline(always)]
    unsafe fn write<T>(at: *mut u8, value: T) {
        // SAFETY: guaranteed by the caller.
        unsafe { *at.cast::<Unaligned<T>>() = Unaligned(value) }
    }

    /// Number of whole pixels in a vector of 16 bytes.
    const PIXELS: usize = 5;

    #[target_feature(enable = "avx2")]
    pub fn reversed(source: &[[u8; 3]], target: &mut [[u8; 3]]) {
        let count = source.len().min(target.len());
        let order = _mm_setr_epi8(13, 14, 15, 10, 11, 12, 7, 8, 9, 4, 5, 6, 1, 2, 3, -1);
        let mut done = 0;
        // A vector extends one byte beyond the pixels that it moves.
        while done + PIXELS < count {
            let from = count - done - PIXELS;
            let place = source.as_ptr().cast::<u8>().wrapping_add(3 * from - 1);
            let to = target.as_mut_ptr().cast::<u8>().wrapping_add(3 * done);
            // SAFETY: the read covers the pixels `from` to `from + 4` and the byte before, which
            // exists because `from > 0`. The write from pixel `done` ends in pixel `done + 5`,
            // below `count`.
            unsafe { write(to, _mm_shuffle_epi8(read::<__m128i>(place), order)) };
            done += PIXELS;
        }
        let (rest, _) = source.split_at(count - done);
        pixels::reversed(rest, target.get_mut(done..count).unwrap_or_default());
    }

    /// Number of pixels computed at once.
    const LANES: usize = 8;

    /// Like [`pixels::warp_row`], but computes eight pixels at a time if all of their neighbours
    /// are inside.
    ///
    /// # Safety
    /// `source` must have `size[0] * size[1]` pixels, fewer than 2^29.
    #[target_feature(enable = "avx2")]
    pub unsafe fn warp_row(
        source: &[[u8; 3]],
        size: [usize; 2],
        row: &Row,
        fill: [u8; 3],
        target: &mut [[u8; 3]],
    ) {
        let (width, height) = (size[0] as f32, size[1] as f32);
        let count = target.len();
        let stride = (3 * size[0]) as i32;
        let ramp = _mm256_setr_ps(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0);
        let affine = row.step[2] == 0.0 && row.start[2] == 1.0;
        let (zero, half) = (_mm256_setzero_ps(), _mm256_set1_ps(0.5));
        // The 16 bytes read at a pixel touch six pixels, which must be in the row, too.
        let (right, bottom) = (_mm256_set1_ps(width - 5.0), _mm256_set1_ps(height - 1.0));
        let mut first = 0;
        while first + LANES <= count {
            let number = _mm256_add_ps(_mm256_set1_ps(first as f32), ramp);
            let along = |k: usize| {
                _mm256_add_ps(
                    _mm256_set1_ps(row.start[k]),
                    _mm256_mul_ps(number, _mm256_set1_ps(row.step[k])),
                )
            };
            let (mut x, mut y) = (along(0), along(1));
            if !affine {
                let weight = along(2);
                (x, y) = (_mm256_div_ps(x, weight), _mm256_div_ps(y, weight));
            }
            (x, y) = (_mm256_sub_ps(x, half), _mm256_sub_ps(y, half));
            // Comparisons with NaN are false; weights below 0 are handled by the slow path.
            let mut inside = _mm256_and_ps(
                _mm256_and_ps(
                    _mm256_cmp_ps::<_CMP_GE_OQ>(x, zero),
                    _mm256_cmp_ps::<_CMP_LT_OQ>(x, right),
                ),
                _mm256_and_ps(
                    _mm256_cmp_ps::<_CMP_GE_OQ>(y, zero),
                    _mm256_cmp_ps::<_CMP_LT_OQ>(y, bottom),
                ),
            );
            if !affine {
                let front = _mm256_cmp_ps::<_CMP_GT_OQ>(along(2), _mm256_set1_ps(pixels::MIN_WEIGHT));
                inside = _mm256_and_ps(inside, front);
            }
            if _mm256_movemask_ps(inside) == 0xff {
                let (left, top) = (_mm256_cvttps_epi32(x), _mm256_cvttps_epi32(y));
                let part = |at: __m256, whole: __m256i| {
                    let rest = _mm256_sub_ps(at, _mm256_cvtepi32_ps(whole));
                    _mm256_cvttps_epi32(_mm256_mul_ps(rest, _mm256_set1_ps(32768.0)))
                };
                let parts = (part(x, left), part(y, top));
                let offsets = _mm256_add_epi32(
                    _mm256_mullo_epi32(top, _mm256_set1_epi32(stride)),
                    _mm256_add_epi32(left, _mm256_add_epi32(left, left)),
                );
                let mut starts = [0i32; LANES];
                // SAFETY: the array has 32 bytes. All eight pixels have `0 <= left < width - 5` and
                // `0 <= top < height - 1`, so the 16 bytes at their offset, and those one row
                // below, end within the source. The target has eight pixels from `first`.
                unsafe {
                    write(starts.as_mut_ptr().cast(), offsets);
                    let made = eight(source.as_ptr().cast(), starts, stride as usize, parts);
                    let out = target.as_mut_ptr().cast::<u8>().wrapping_add(3 * first);
                    write(out, made[0]);
                    write(out.wrapping_add(16), _mm_cvtsi128_si64(made[1]));
                }
            } else if let Some(some) = target.get_mut(first..first + LANES) {
                pixels::warp_row(source, size, row, fill, some, first);
            }
            first += LANES;
        }
        pixels::warp_row(
            source,
            size,
            row,
            fill,
            target.get_mut(first..).unwrap_or_default(),
            first,
        );
    }

    /// Computes eight pixels, each interpolated from the two pixels at `starts` (in bytes) and the
    /// two below: 24 bytes, the first 16 and the last 8. `parts` are the weights of the second
    /// pixel along x and along y, in units of 2^-15.
    ///
    /// # Safety
    /// 16 bytes must be readable at each start, and 16 more `stride` bytes later.
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn eight(
        source: *const u8,
        starts: [i32; LANES],
        stride: usize,
        parts: (__m256i, __m256i),
    ) -> [__m128i; 2] {
        let [a, b, c, d, e, f, g, h] = starts;
        // SAFETY: guaranteed by the caller.
        let pairs = unsafe {
            [
                two::<0>(source, a, e, stride, parts),
                two::<1>(source, b, f, stride, parts),
                two::<2>(source, c, g, stride, parts),
                two::<3>(source, d, h, stride, parts),
            ]
        };
        // Pixels 0 to 3 are in the low lane, and 4 to 7 in the high one.
        let [first, second, third, fourth] = pairs;
        let front = _mm_setr_epi8(0, 1, 2, 8, 9, 10, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
        let back = _mm_setr_epi8(-1, -1, -1, -1, -1, -1, 0, 1, 2, 8, 9, 10, -1, -1, -1, -1);
        let twelve = _mm256_or_si256(
            _mm256_shuffle_epi8(
                _mm256_packus_epi16(first, second),
                _mm256_broadcastsi128_si256(front),
            ),
            _mm256_shuffle_epi8(
                _mm256_packus_epi16(third, fourth),
                _mm256_broadcastsi128_si256(back),
            ),
        );
        let (low, high) = (
            _mm256_castsi256_si128(twelve),
            _mm256_extracti128_si256::<1>(twelve),
        );
        [
            _mm_or_si128(low, _mm_slli_si128::<12>(high)),
            _mm_srli_si128::<4>(high),
        ]
    }

    /// Computes pixels `K` and `K + 4` of eight, in the first three words of each half.
    ///
    /// # Safety
    /// The same as for [`eight`].
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn two<const K: i32>(
        source: *const u8,
        first: i32,
        second: i32,
        stride: usize,
        (x_parts, y_parts): (__m256i, __m256i),
    ) -> __m256i {
        // SAFETY: guaranteed by the caller.
        let (top, bottom) = unsafe {
            // This load is unchecked in builds with debug assertions, too.
            let at = |start: usize| _mm_lddqu_si128(source.wrapping_add(start).cast());
            let (first, second) = (first as usize, second as usize);
            (
                _mm_unpacklo_epi64(at(first), at(second)),
                _mm_unpacklo_epi64(at(first.wrapping_add(stride)), at(second.wrapping_add(stride))),
            )
        };
        let widened = |v: __m128i| _mm256_slli_epi16::<7>(_mm256_cvtepu8_epi16(v));
        let (top, bottom) = (widened(top), widened(bottom));
        let order = _mm256_set1_epi16((((4 * K + 1) << 8) | (4 * K)) as i16);
        let (x_part, y_part) = (
            _mm256_shuffle_epi8(x_parts, order),
            _mm256_shuffle_epi8(y_parts, order),
        );
        let mixed = |a: __m256i, b: __m256i, part: __m256i| {
            _mm256_add_epi16(a, _mm256_mulhrs_epi16(_mm256_sub_epi16(b, a), part))
        };
        let column = mixed(top, bottom, y_part);
        let pixel = mixed(column, _mm256_srli_si256::<6>(column), x_part);
        _mm256_srli_epi16::<7>(_mm256_add_epi16(pixel, _mm256_set1_epi16(64)))
    }

    /// Number of values computed at once.
    const BYTES: usize = 32;

    /// Like [`pixels::mix`].
    ///
    /// # Safety
    /// There must be `2 * radius + 1` taps, each as long as `out`.
    #[target_feature(enable = "avx2")]
    pub unsafe fn mix(taps: &[&[u8]], gaussian: &Gaussian, out: &mut [u8]) {
        // Pairs of taps on both sides of the centre with their common weight; the centre is paired
        // with itself.
        let radius = gaussian.radius();
        let (left, right) = taps.split_at(radius);
        let weights = std::iter::once(gaussian.middle).chain(gaussian.sides.iter().copied());
        let middle = right.first().into_iter();
        let pairs: Vec<(*const u8, *const u8, i16)> = middle
            .clone()
            .chain(left.iter().rev())
            .zip(right)
            .zip(weights)
            .map(|((a, b), weight)| (a.as_ptr(), b.as_ptr(), weight))
            .collect();
        let target = out.as_mut_ptr();
        let mut first = 0;
        while first + BYTES <= out.len() {
            let mut sums = [_mm256_set1_epi16(64); 2];
            for &(a, b, weight) in &pairs {
                let weight = _mm256_set1_epi16(weight);
                for (half, sum) in sums.iter_mut().enumerate() {
                    let at = first + half * (BYTES / 2);
                    // SAFETY: the taps are as long as `out`, which has 32 bytes from `first`.
                    let (a, b) = unsafe { (read(a.wrapping_add(at)), read(b.wrapping_add(at))) };
                    let both = _mm256_add_epi16(_mm256_cvtepu8_epi16(a), _mm256_cvtepu8_epi16(b));
                    let part = _mm256_mulhrs_epi16(_mm256_slli_epi16::<6>(both), weight);
                    *sum = _mm256_add_epi16(*sum, part);
                }
            }
            let [low, high] = sums.map(|sum| _mm256_srai_epi16::<7>(sum));
            let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(low, high));
            // SAFETY: `out` has 32 bytes from `first`.
            unsafe { write(target.wrapping_add(first), packed) };
            first += BYTES;
        }
        pixels::mix(taps, gaussian, out, first);
    }
}

#[cfg(test)]
mod tests;

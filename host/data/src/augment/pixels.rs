//! Portable pixel operations; `kernels` selects between these and their AVX2 versions.

/// The inverse transformation of one row of a new image: x, y and weight at the centre of its first
/// pixel, and their increments per pixel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    pub start: [f32; 3],
    pub step: [f32; 3],
    /// Whether border pixels are replicated outside of the image; otherwise the fill colour is
    /// used.
    pub replicate_border: bool,
}

/// Points with a smaller weight count as behind the horizon.
pub const MIN_WEIGHT: f32 = 1e-6;

/// Computes pixels `first`, `first + 1`, … of a row, each interpolated from the four pixels around
/// its centre's preimage; `fill` is the colour outside. Positions have 15 fractional bits, values
/// have 7.
pub fn warp_row(
    source: &[[u8; 3]],
    size: [usize; 2],
    row: &Row,
    fill: [u8; 3],
    target: &mut [[u8; 3]],
    first: usize,
) {
    let (width, height) = (size[0] as i64, size[1] as i64);
    let at = |x: i64, y: i64| {
        let (x, y) = if row.replicate_border {
            (x.clamp(0, (width - 1).max(0)), y.clamp(0, (height - 1).max(0)))
        } else {
            (x, y)
        };
        let inside = (0..width).contains(&x) && (0..height).contains(&y);
        let found = if inside {
            source.get((y * width + x) as usize)
        } else {
            None
        };
        found.copied().unwrap_or(fill)
    };
    for (number, pixel) in target.iter_mut().enumerate() {
        let number = (first + number) as f32;
        let along = |start: f32, step: f32| start + number * step;
        let weight = along(row.start[2], row.step[2]);
        let x = along(row.start[0], row.step[0]) / weight - 0.5;
        let y = along(row.start[1], row.step[1]) / weight - 0.5;
        let near = x > -1.0 && x < size[0] as f32 && y > -1.0 && y < size[1] as f32;
        if weight <= MIN_WEIGHT || !near {
            *pixel = fill;
            continue;
        }
        let (left, top) = (x.floor(), y.floor());
        let (x_part, y_part) = (fifteen_bits(x - left), fifteen_bits(y - top));
        let (left, top) = (left as i64, top as i64);
        let (a, b) = (at(left, top), at(left + 1, top));
        let (c, d) = (at(left, top + 1), at(left + 1, top + 1));
        *pixel = std::array::from_fn(|k| {
            let value = |corner: [u8; 3]| i32::from(corner.get(k).copied().unwrap_or(0)) << 7;
            let (before, after) = (
                mixed(value(a), value(c), y_part),
                mixed(value(b), value(d), y_part),
            );
            ((mixed(before, after, x_part) + 64) >> 7) as u8
        });
    }
}

fn fifteen_bits(part: f32) -> i32 {
    // A position just left of a pixel is rounded to the pixel.
    ((part * 32768.0) as i32).min(32767)
}

fn mixed(a: i32, b: i32, part: i32) -> i32 {
    a + (((b - a) * part + 0x4000) >> 15)
}

pub fn reversed(source: &[[u8; 3]], target: &mut [[u8; 3]]) {
    for (target, source) in target.iter_mut().zip(source.iter().rev()) {
        *target = *source;
    }
}

/// Rounds and clamps to 0..=255. Adding 2^23 leaves the integer part in the lowest bits, which
/// takes one vector instruction.
#[inline(always)]
fn byte(value: f32) -> u8 {
    (value.clamp(0.0, 255.0) + 8_388_608.0).to_bits() as u8
}

#[inline(always)]
pub fn tone(bytes: &mut [u8], gain: f32, offset: f32) {
    if gain.abs() >= 3.9 || offset.abs() >= 1500.0 {
        for v in bytes {
            *v = byte(f32::from(*v) * gain + offset);
        }
        return;
    }
    // Sixteenths of a level fit into 16 bits, of which a vector holds twice as many as of f32.
    let (gain, offset) = ((gain * 8192.0).round() as i16, (offset * 16.0).round() as i16);
    for v in bytes {
        let scaled = ((i32::from(i16::from(*v) << 6) * i32::from(gain) + 0x4000) >> 15) as i16;
        *v = (scaled.saturating_add(offset.wrapping_add(8)) >> 4).clamp(0, 255) as u8;
    }
}

/// Luma of ITU-R BT.601 in 16-bit fixed point, as Pillow computes mode `L`.
#[inline(always)]
fn grey(r: u8, g: u8, b: u8) -> u32 {
    let weighted = |v: u8, weight: u32| u32::from(v).wrapping_mul(weight);
    let sum = weighted(r, 19595).wrapping_add(weighted(g, 38470));
    sum.wrapping_add(weighted(b, 7471)).wrapping_add(0x8000) >> 16
}

#[inline(always)]
pub fn grey_sum(pixels: &[[u8; 3]]) -> u64 {
    // Sums blocks in 32 bits, of which a vector holds more.
    let mut sum = 0u64;
    for block in pixels.chunks(1 << 16) {
        let mut part = 0u32;
        for [r, g, b] in block {
            part = part.wrapping_add(grey(*r, *g, *b));
        }
        sum += u64::from(part);
    }
    sum
}

/// Number of pixels deinterleaved into three planes at once.
const BLOCK: usize = 64;

/// Applies `change` to all pixels, as f32 on a scale from 0 to 255.
#[inline(always)]
fn in_planes(pixels: &mut [[u8; 3]], change: impl Fn([f32; 3]) -> [f32; 3]) {
    let (blocks, rest) = pixels.as_chunks_mut::<BLOCK>();
    for block in blocks {
        block_in_planes(block, &change);
    }
    let mut last = [[0; 3]; BLOCK];
    for (padded, pixel) in last.iter_mut().zip(&*rest) {
        *padded = *pixel;
    }
    if !rest.is_empty() {
        block_in_planes(&mut last, &change);
    }
    for (pixel, padded) in rest.iter_mut().zip(last) {
        *pixel = padded;
    }
}

#[inline(always)]
fn block_in_planes(pixels: &mut [[u8; 3]; BLOCK], change: &impl Fn([f32; 3]) -> [f32; 3]) {
    let (mut red, mut green, mut blue) = ([0u8; BLOCK], [0u8; BLOCK], [0u8; BLOCK]);
    for (((r, g), b), pixel) in red.iter_mut().zip(&mut green).zip(&mut blue).zip(&*pixels) {
        [*r, *g, *b] = *pixel;
    }
    for ((r, g), b) in red.iter_mut().zip(&mut green).zip(&mut blue) {
        let new = change([f32::from(*r), f32::from(*g), f32::from(*b)]);
        [*r, *g, *b] = new.map(byte);
    }
    for (((r, g), b), pixel) in red.iter().zip(&green).zip(&blue).zip(pixels) {
        *pixel = [*r, *g, *b];
    }
}

#[inline(always)]
pub fn saturate(pixels: &mut [[u8; 3]], factor: f32) {
    in_planes(pixels, |rgb| {
        // The weights of [`grey`], whose sums are exact in f32; adding 2^23 rounds.
        let [r, g, b] = rgb;
        let grey = (r * 19595.0 + g * 38470.0 + b * 7471.0) / 65536.0;
        let grey = (grey + 8_388_608.0) - 8_388_608.0;
        rgb.map(|v| v * factor + (1.0 - factor) * grey)
    });
}

/// A shift of hue, saturation and value in the HSV cone (Smith 1978).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hsv {
    /// Hue shift in full turns.
    pub turn: f32,
    /// Added to the saturation, on a scale from 0 to 1.
    pub saturation: f32,
    pub value: f32,
}

/// Greys have no hue and remain grey.
#[inline(always)]
pub fn shift_hsv(pixels: &mut [[u8; 3]], shift: Hsv) {
    // In 0..6, so that one subtraction wraps a sum around the circle.
    let sixths = 6.0 * (shift.turn - shift.turn.floor());
    in_planes(pixels, |[r, g, b]| {
        let larger = |a: f32, b: f32| if a > b { a } else { b };
        let smaller = |a: f32, b: f32| if a < b { a } else { b };
        let (max, min) = (larger(larger(r, g), b), smaller(smaller(r, g), b));
        let range = max - min;
        let per_range = 1.0 / larger(range, 1.0);
        let of_blue = (r - g) * per_range + 4.0;
        let of_green = (b - r) * per_range + 2.0;
        // Negative just below red.
        let of_red = (g - b) * per_range + 6.0;
        let sixth = if max == g { of_green } else { of_blue };
        let sixth = if max == r { of_red } else { sixth };
        let new_max = (max + 255.0 * shift.value).clamp(0.0, 255.0);
        let saturation = (range / larger(max, 1.0) + shift.saturation).clamp(0.0, 1.0);
        let new_range = if range > 0.0 { saturation * new_max } else { 0.0 };
        // From 1 (magenta without shift) to below 13.
        let sixth = sixth + sixths;
        // Offsets 5, 3, 1 for red, green and blue: the channel decreases with its distance from the
        // peak.
        [5.0, 3.0, 1.0].map(|k: f32| {
            let at = k + sixth;
            let at = if at >= 12.0 { at - 12.0 } else { at };
            let at = if at >= 6.0 { at - 6.0 } else { at };
            let down = smaller(at, 4.0 - at).clamp(0.0, 1.0);
            new_max - new_range * down
        })
    });
}

#[inline(always)]
pub fn blend(target: &mut [u8], other: &[u8], weight: u16) {
    // The sums fit because of the range of `weight`; wrapping arithmetic avoids overflow checks,
    // which would prevent vectorization.
    let own = 256u16.wrapping_sub(weight);
    for (v, o) in target.iter_mut().zip(other) {
        let sum = u16::from(*v)
            .wrapping_mul(own)
            .wrapping_add(u16::from(*o).wrapping_mul(weight));
        *v = (sum.wrapping_add(128) >> 8) as u8;
    }
}

/// Sufficient for a sigma of 2.
pub const MAX_RADIUS: usize = 6;

/// The weights of a Gaussian in units of 2^-15: the weight of the centre, and the total weight of
/// each pair of taps on both sides, which applies to the pair's mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Gaussian {
    pub middle: i16,
    pub sides: Vec<i16>,
}

impl Gaussian {
    /// Truncated at three times `sigma`, which is in pixels, and at [`MAX_RADIUS`].
    pub fn new(sigma: f64) -> Self {
        let radius = (3.0 * sigma).ceil().clamp(1.0, MAX_RADIUS as f64) as i32;
        let weight = |k: i32| (-0.5 * (f64::from(k) / sigma).powi(2)).exp();
        let sum: f64 = (-radius..=radius).map(weight).sum();
        let sides: Vec<i16> = (1..=radius)
            .map(|k| (65536.0 * weight(k) / sum).round() as i16)
            .collect();
        let both: i32 = sides.iter().map(|w| i32::from(*w)).sum();
        let middle = (32768 - both).min(32767) as i16;
        Gaussian { middle, sides }
    }

    /// The number of pixels on each side.
    pub fn radius(&self) -> usize {
        self.sides.len()
    }
}

/// Computes the weighted sum of `taps`, which are `2 * radius + 1` slices as long as `out`, with
/// the Gaussian's weights.
pub fn mix(taps: &[&[u8]], gaussian: &Gaussian, out: &mut [u8], first: usize) {
    let radius = gaussian.radius();
    let value = |tap: usize, at: usize| {
        let value = taps.get(tap).and_then(|t| t.get(at)).copied();
        i32::from(value.unwrap_or(0))
    };
    for (at, out) in (first..).zip(out.iter_mut().skip(first)) {
        let part = |a: usize, b: usize, weight: i16| {
            ((((value(a, at) + value(b, at)) << 6) * i32::from(weight)) + 0x4000) >> 15
        };
        let mut sum = 64 + part(radius, radius, gaussian.middle);
        for (k, weight) in (1..).zip(&gaussian.sides) {
            sum += part(radius - k, radius + k, *weight);
        }
        *out = (sum >> 7).clamp(0, 255) as u8;
    }
}

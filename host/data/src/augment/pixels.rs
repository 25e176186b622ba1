//! What happens to pixels, written for every processor; `kernels` chooses between this and the same for AVX2.

/// The way back from one row of a new picture: x, y and weight at the centre of its first pixel, and how far each goes in a
/// pixel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    pub start: [f32; 3],
    pub step: [f32; 3],
    /// Whether the border's pixels go on outside; else a fill is there.
    pub goes_on: bool,
}

/// What has a smaller weight counts as behind the horizon.
pub const LEAST_WEIGHT: f32 = 1e-6;

/// Pixels `first`, `first + 1`, … of a row, each mixed of the four around where its centre comes from; `fill` lies outside.
/// Places have 15 binary digits below a pixel, values 7 below 1 of 255.
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
        let (x, y) = if row.goes_on {
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
        if weight <= LEAST_WEIGHT || !near {
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
    // A place just left of a pixel is rounded to the pixel.
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

/// From 0 to 255, rounded. Adding 2^23 leaves the whole part in the lowest bits, which takes one instruction for a vector.
#[inline(always)]
fn byte(value: f32) -> u8 {
    (value.clamp(0.0, 255.0) + 8_388_608.0).to_bits() as u8
}

#[inline(always)]
pub fn tone(bytes: &mut [u8], gain: f32, offset: f32) {
    for v in bytes {
        *v = byte(f32::from(*v) * gain + offset);
    }
}

/// Luma of ITU-R BT.601 in 16-bit fixed point, as Pillow computes mode `L`.
#[inline(always)]
fn grey(r: u8, g: u8, b: u8) -> u32 {
    (u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16
}

#[inline(always)]
pub fn grey_sum(pixels: &[[u8; 3]]) -> u64 {
    // Blocks whose sum fits 32 bits, of which more go into a vector.
    let of = |block: &[[u8; 3]]| block.iter().map(|&[r, g, b]| grey(r, g, b)).sum::<u32>();
    pixels.chunks(1 << 16).map(|block| u64::from(of(block))).sum()
}

/// Pixels that are taken apart into three planes at once.
const BLOCK: usize = 64;

/// Applies `change` to all pixels, as f32 from 0 to 255.
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
        let [r, g, b] = rgb.map(|v| v as u32);
        let grey = ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as f32;
        rgb.map(|v| v * factor + (1.0 - factor) * grey)
    });
}

/// A change of hue, saturation and value in the HSV cone (Smith 1978).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hsv {
    /// In turns of the whole circle.
    pub turn: f32,
    /// Added to, from 0 to 1.
    pub saturation: f32,
    pub value: f32,
}

/// Greys have no hue and stay grey.
#[inline(always)]
pub fn shift_hsv(pixels: &mut [[u8; 3]], shift: Hsv) {
    // From 0 up to 6, so that one subtraction brings a sum back into the circle.
    let sixths = 6.0 * (shift.turn - shift.turn.floor());
    in_planes(pixels, |[r, g, b]| {
        let larger = |a: f32, b: f32| if a > b { a } else { b };
        let smaller = |a: f32, b: f32| if a < b { a } else { b };
        let (max, min) = (larger(larger(r, g), b), smaller(smaller(r, g), b));
        let range = max - min;
        let per_range = 1.0 / larger(range, 1.0);
        let of_blue = (r - g) * per_range + 4.0;
        let of_green = (b - r) * per_range + 2.0;
        // Just below red it is negative.
        let of_red = (g - b) * per_range + 6.0;
        let sixth = if max == g { of_green } else { of_blue };
        let sixth = if max == r { of_red } else { sixth };
        let new_max = (max + 255.0 * shift.value).clamp(0.0, 255.0);
        let saturation = (range / larger(max, 1.0) + shift.saturation).clamp(0.0, 1.0);
        let new_range = if range > 0.0 { saturation * new_max } else { 0.0 };
        // From 1 (magenta, turned by nothing) up to below 13.
        let sixth = sixth + sixths;
        // Channel k of 5, 3, 1 for red, green, blue: how far its distance from the peak takes it down.
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
pub fn blend(target: &mut [u8], other: &[u8], part: u16) {
    let own = 256 - part;
    for (v, o) in target.iter_mut().zip(other) {
        *v = ((u16::from(*v) * own + u16::from(*o) * part + 128) >> 8) as u8;
    }
}

/// The weights of a Gaussian, in 2^-15, the middle one first; those beside it count twice, as both sides are added up first.
#[derive(Debug, Clone, PartialEq)]
pub struct Gaussian {
    middle: i16,
    sides: Vec<i16>,
}

impl Gaussian {
    /// Cut off at three times `sigma`, which is in pixels.
    pub fn new(sigma: f64) -> Self {
        let radius = (3.0 * sigma).ceil().clamp(1.0, 64.0) as i32;
        let weight = |k: i32| (-0.5 * (f64::from(k) / sigma).powi(2)).exp();
        let sum: f64 = (-radius..=radius).map(weight).sum();
        let sides: Vec<i16> = (1..=radius)
            .map(|k| (65536.0 * weight(k) / sum).round() as i16)
            .collect();
        let both: i32 = sides.iter().map(|w| i32::from(*w)).sum();
        let middle = (32768 - both).min(32767) as i16;
        Gaussian { middle, sides }
    }

    /// Pixels on each side.
    pub fn radius(&self) -> usize {
        self.sides.len()
    }
}

/// Values that are blurred at once.
const WIDTH: usize = 32;

#[inline(always)]
pub fn blur_along_x(row: &[u8], gaussian: &Gaussian, scratch: &mut Vec<u8>, out: &mut [u8]) {
    let radius = gaussian.radius();
    let pixels = row.as_chunks::<3>().0;
    let (Some(first), Some(last)) = (pixels.first(), pixels.last()) else {
        return;
    };
    scratch.clear();
    (0..radius).for_each(|_| scratch.extend_from_slice(first));
    scratch.extend_from_slice(row);
    (0..radius).for_each(|_| scratch.extend_from_slice(last));
    // Whole blocks may be read at the end.
    scratch.extend_from_slice(&[0; WIDTH]);
    blurred(out, gaussian, |tap, start| scratch.get(3 * tap + start..));
}

#[inline(always)]
pub fn blur_along_y(rows: &[&[u8]], gaussian: &Gaussian, out: &mut [u8]) {
    blurred(out, gaussian, |tap, start| rows.get(tap)?.get(start..));
}

/// Each value of `out` is mixed of the values that the taps, numbered from one side to the other, give from its place on.
#[inline(always)]
fn blurred<'a>(out: &mut [u8], gaussian: &Gaussian, tap: impl Fn(usize, usize) -> Option<&'a [u8]>) {
    let radius = gaussian.radius();
    for (number, target) in out.chunks_mut(WIDTH).enumerate() {
        let block = |k: usize| -> [u8; WIDTH] {
            let values = tap(k, number * WIDTH).unwrap_or_default();
            values.first_chunk().copied().unwrap_or_else(|| {
                let mut short = [0; WIDTH];
                short.iter_mut().zip(values).for_each(|(s, v)| *s = *v);
                short
            })
        };
        let mut sums = [64i16; WIDTH];
        add(&mut sums, block(radius), block(radius), gaussian.middle);
        for (k, weight) in gaussian.sides.iter().enumerate() {
            add(&mut sums, block(radius - 1 - k), block(radius + 1 + k), *weight);
        }
        for (value, sum) in target.iter_mut().zip(sums) {
            *value = (sum >> 7).clamp(0, 255) as u8;
        }
    }
}

/// Adds the mean of two values times a weight, in 2^-7.
#[inline(always)]
fn add(sums: &mut [i16; WIDTH], a: [u8; WIDTH], b: [u8; WIDTH], weight: i16) {
    for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
        let both = (i16::from(a) + i16::from(b)) << 6;
        let product = ((i32::from(both) * i32::from(weight) + 0x4000) >> 15) as i16;
        *sum = sum.wrapping_add(product);
    }
}

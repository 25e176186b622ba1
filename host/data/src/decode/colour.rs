//! Converts samples of other kinds to 8-bit RGB, with Pillow's arithmetic.

/// Keeps the first 3 of every `channels` bytes, in place: drops alpha and any other channels.
pub fn first_three(pixels: &mut Vec<u8>, channels: usize) {
    if channels <= 3 {
        return;
    }
    let count = pixels.len() / channels;
    for i in 0..count {
        let Some(&[r, g, b]) = pixels.get(i * channels..i * channels + 3) else {
            break;
        };
        if let Some(out) = pixels.get_mut(i * 3..i * 3 + 3) {
            out.copy_from_slice(&[r, g, b]);
        }
    }
    pixels.truncate(count * 3);
}

/// Writes the first of every `channels` bytes three times.
pub fn repeat_first(samples: &[u8], channels: usize, out: &mut [u8]) {
    for (pixel, sample) in out
        .as_chunks_mut::<3>()
        .0
        .iter_mut()
        .zip(samples.chunks(channels))
    {
        *pixel = [sample.first().copied().unwrap_or_default(); 3];
    }
}

/// Converts CMYK to RGB, in place. With `inverted`, which is how Adobe's programs store it in
/// JPEGs, 255 means no ink. Each product is divided by 255 and rounded, as in Pillow's conversion.
pub fn rgb_of_cmyk(pixels: &mut Vec<u8>, inverted: bool) {
    let count = pixels.len() / 4;
    let flip = if inverted { 0xff } else { 0 };
    for i in 0..count {
        let Some(&[c, m, y, k]) = pixels.get(i * 4..i * 4 + 4) else {
            break;
        };
        let light = u32::from(255 - (k ^ flip));
        let shade = |ink: u8| {
            let product = u32::from(ink ^ flip) * light + 128;
            (light - ((product + (product >> 8)) >> 8).min(light)) as u8
        };
        let rgb = [shade(c), shade(m), shade(y)];
        if let Some(out) = pixels.get_mut(i * 3..i * 3 + 3) {
            out.copy_from_slice(&rgb);
        }
    }
    pixels.truncate(count * 3);
}

/// Undoes the premultiplication by alpha (Pillow's mode `RGBa`). The result is 0 if alpha is 0.
pub fn unmultiplied(colour: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        255 => colour,
        _ => (u32::from(colour) * 255 / u32::from(alpha)).min(255) as u8,
    }
}

/// Unpacks samples of 1, 2 or 4 bits, the first one in the highest bits; the length of `out` is the
/// number of samples.
pub fn unpack(packed: &[u8], bits: u32, out: &mut [u8]) {
    let per_byte = 8 / bits as usize;
    let mask = ((1u32 << bits) - 1) as u8;
    for (byte, samples) in packed.iter().zip(out.chunks_mut(per_byte)) {
        for (i, sample) in samples.iter_mut().enumerate() {
            *sample = byte >> (8 - bits * (i as u32 + 1)) & mask;
        }
    }
}

/// Converts 16-bit grey as Pillow converts mode `I;16` to RGB: clipped by value, not scaled.
pub fn clipped(value: u16) -> u8 {
    value.min(255) as u8
}

/// The conversion from YCbCr to RGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chroma {
    /// With libjpeg's tables of 16 fractional bits.
    Jpeg,
    /// With Pillow's own tables of 6 fractional bits.
    Pillow,
}

/// Converts 8-bit YCbCr to RGB with the factors of JFIF, in place.
pub fn rgb_of_ycbcr(pixels: &mut [u8], chroma: Chroma) {
    let factors = [1.402, -0.344_14, -0.714_14, 1.772];
    for pixel in pixels.as_chunks_mut::<3>().0 {
        let [y, cb, cr] = pixel.map(i32::from);
        let [cb, cr] = [cb - 128, cr - 128];
        let (red, green, blue) = match chroma {
            Chroma::Jpeg => {
                let green = -22_554 * cb - 46_802 * cr;
                let round = |v: i32| (v + 0x8000) >> 16;
                (round(91_881 * cr), round(green), round(116_130 * cb))
            }
            Chroma::Pillow => {
                // Table entries are rounded by adding one half and truncating, so negative ones are
                // rounded up by one.
                let entry = |factor: f64, v: i32| (factor * f64::from(v) * 64.0 + 0.5) as i32;
                let [red, from_cb, from_cr, blue] = factors;
                let green = entry(from_cb, cb) + entry(from_cr, cr);
                (entry(red, cr) >> 6, green >> 6, entry(blue, cb) >> 6)
            }
        };
        *pixel = [red, green, blue].map(|v| (y + v).clamp(0, 255) as u8);
    }
}

//! A Gaussian blur.

use super::kernels;
use super::pixels::{Gaussian, MAX_RADIUS};
use cvhost_plugin_api::data::Image;

/// Maximum number of rows and columns that contribute to a blurred pixel.
const MAX_TAPS: usize = 2 * MAX_RADIUS + 1;

/// Blurs with `sigma` in pixels; border pixels are replicated. Each of the two passes rounds to
/// integers.
pub fn blur(image: &mut Image, sigma: f64) {
    let gaussian = Gaussian::new(sigma);
    let radius = gaussian.radius();
    let (pitch, height) = (image.width as usize * 3, image.height as usize);
    if pitch == 0 || height == 0 {
        return;
    }
    // A ring buffer of the rows blurred along x that the next output row depends on: row `y` is at
    // index `y` modulo their number.
    let count = 2 * radius + 1;
    let mut ring = vec![0u8; count * pitch];
    let mut wide = Vec::with_capacity(pitch + 6 * radius);
    let mut ready = 0;
    for y in 0..height {
        while ready <= (y + radius).min(height - 1) {
            let row = image.pixels.get(ready * pitch..(ready + 1) * pitch);
            let place = ready % count * pitch;
            if let Some((row, target)) = row.zip(ring.get_mut(place..place + pitch)) {
                along_x(row, &gaussian, &mut wide, target);
            }
            ready += 1;
        }
        let mut rows: [&[u8]; MAX_TAPS] = [&[]; MAX_TAPS];
        for (k, row) in rows.iter_mut().take(count).enumerate() {
            let place = (y + k).saturating_sub(radius).min(height - 1) % count * pitch;
            *row = ring.get(place..place + pitch).unwrap_or_default();
        }
        // The input row `y` is no longer needed.
        if let Some(target) = image.pixels.get_mut(y * pitch..(y + 1) * pitch) {
            kernels::mix(rows.get(..count).unwrap_or_default(), &gaussian, target);
        }
    }
}

/// Blurs one row of RGB pixels along x. `wide` is scratch space for the row with its border pixels
/// replicated.
fn along_x(row: &[u8], gaussian: &Gaussian, wide: &mut Vec<u8>, target: &mut [u8]) {
    let radius = gaussian.radius();
    let (Some(first), Some(last)) = (row.first_chunk::<3>(), row.last_chunk::<3>()) else {
        return;
    };
    wide.clear();
    (0..radius).for_each(|_| wide.extend_from_slice(first));
    wide.extend_from_slice(row);
    (0..radius).for_each(|_| wide.extend_from_slice(last));
    let count = 2 * radius + 1;
    let mut taps: [&[u8]; MAX_TAPS] = [&[]; MAX_TAPS];
    for (k, tap) in taps.iter_mut().take(count).enumerate() {
        *tap = wide.get(3 * k..3 * k + row.len()).unwrap_or_default();
    }
    kernels::mix(taps.get(..count).unwrap_or_default(), gaussian, target);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pattern;

    /// A reference implementation in f64 with both passes at once.
    fn reference(image: &Image, sigma: f64) -> Vec<f64> {
        let radius = (3.0 * sigma).ceil() as i64;
        let weight = |k: i64| (-0.5 * (k as f64 / sigma).powi(2)).exp();
        let sum: f64 = (-radius..=radius).map(weight).sum();
        let (width, height) = (i64::from(image.width), i64::from(image.height));
        let at = |x: i64, y: i64| {
            let (x, y) = (x.clamp(0, width - 1) as u32, y.clamp(0, height - 1) as u32);
            image.pixel(x, y).unwrap().map(f64::from)
        };
        let mut values = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let mut pixel = [0.0; 3];
                for dy in -radius..=radius {
                    for dx in -radius..=radius {
                        let part = weight(dx) * weight(dy) / sum / sum;
                        pixel
                            .iter_mut()
                            .zip(at(x + dx, y + dy))
                            .for_each(|(p, v)| *p += part * v);
                    }
                }
                values.extend(pixel);
            }
        }
        values
    }

    #[test]
    fn blurred_pixels_are_weighted_means_of_their_neighbourhood() {
        for (width, height) in [(37, 21), (3, 2), (1, 1), (64, 5)] {
            for sigma in [0.1, 0.4, 1.0, 2.0] {
                let original = pattern(width, height);
                let mut blurred = original.clone();
                blur(&mut blurred, sigma);
                for (new, expected) in blurred.pixels.iter().zip(reference(&original, sigma)) {
                    let off = (f64::from(*new) - expected).abs();
                    assert!(
                        off <= 1.1,
                        "{width}x{height}, sigma {sigma}: {new}, expected {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn uniform_images_are_unchanged() {
        for colour in [[0, 128, 255], [255; 3]] {
            let mut image = Image::filled(50, 9, colour);
            blur(&mut image, 1.7);
            assert_eq!(image, Image::filled(50, 9, colour));
        }
    }
}

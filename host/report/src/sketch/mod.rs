//! Draws samples with their targets based only on roles, to inspect the data of any task.
//! Predictions are drawn by their task (`crate::drawings`).

mod sheet;
mod targets;

pub use sheet::{Cell, sheet};
pub use targets::{caption, draw};

use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::Image;
use image::RgbImage;
use image::imageops::{self, FilterType};

/// The maximum factor by which a small image is enlarged.
const LARGEST_SCALE: f64 = 8.0;

/// Scales an image to fit into `width` × `height` pixels, and returns it with the factor. Fails if
/// the image has the wrong number of bytes.
pub fn fitted(image: &Image, width: u32, height: u32) -> Result<(RgbImage, f64)> {
    let (from_width, from_height) = (image.width, image.height);
    let whole = RgbImage::from_raw(from_width, from_height, image.pixels.to_vec());
    let whole = whole.filter(|w| w.width() > 0 && w.height() > 0).ok_or_else(|| {
        Error::failed(format!(
            "an image of {from_width}x{from_height} has {} bytes of pixels",
            image.pixels.len()
        ))
    })?;
    let scale = (f64::from(width) / f64::from(from_width))
        .min(f64::from(height) / f64::from(from_height))
        .min(LARGEST_SCALE);
    let side = |from: u32| ((f64::from(from) * scale).round() as u32).max(1);
    let (to_width, to_height) = (side(from_width), side(from_height));
    let small = if scale > 1.0 {
        imageops::resize(&whole, to_width, to_height, FilterType::Nearest)
    } else {
        imageops::thumbnail(&whole, to_width, to_height)
    };
    Ok((small, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_keep_their_aspect_ratio() {
        let size = |w, h| {
            let (small, scale) = fitted(&Image::filled(w, h, [9, 9, 9]), 300, 200).unwrap();
            (small.dimensions(), scale)
        };
        assert_eq!(size(600, 300), ((300, 150), 0.5));
        assert_eq!(size(100, 400), ((50, 200), 0.5));
        assert_eq!(size(10, 10), ((80, 80), 8.0));
        assert_eq!(size(5000, 1).0, (300, 1));
        assert!(fitted(&Image::default(), 10, 10).is_err());
    }
}

//! Formats decoded by the crate `image`.

use super::colour;
use super::format::Format;
use super::header::Header;
use super::limits::{damaged, unsupported};
use cvhost::error::Result;
use image::{DynamicImage, ImageError, ImageFormat};

/// Decodes to RGB pixels of the size in the header; alpha is dropped.
pub fn rgb(bytes: &[u8], header: &Header, kind: ImageFormat) -> Result<Vec<u8>> {
    let format = header.format;
    // This function isn't generic, because `image` would instantiate its decoders for it, which
    // takes minutes in this crate.
    let image = image::load_from_memory_with_format(bytes, kind).map_err(|e| explained(format, &e))?;
    if (image.width(), image.height()) != (header.width, header.height) {
        return Err(damaged(format, "its headers contradict each other"));
    }
    Ok(match image {
        DynamicImage::ImageRgba8(image) => {
            let mut pixels = image.into_raw();
            colour::first_three(&mut pixels, 4);
            pixels
        }
        other => other.into_rgb8().into_raw(),
    })
}

fn explained(format: Format, error: &ImageError) -> cvhost::error::Error {
    match error {
        ImageError::Unsupported(e) => unsupported(format, &e.to_string()),
        other => damaged(format, &other.to_string()),
    }
}

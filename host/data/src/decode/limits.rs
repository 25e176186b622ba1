//! Resource limits of an image, checked by its header before memory is allocated.

use super::format::Format;
use cvhost::error::{Error, Result};

/// Maximum side length of an image, in pixels.
const MAX_SIDE: u32 = 32_768;
/// Maximum number of pixels of an image. Pillow rejects the same number as a decompression bomb.
const MAX_PIXELS: u64 = 178_956_970;
/// Maximum memory for decoding one image, in bytes: its pixels, and what its format needs for
/// decoding. The largest image takes half of it as RGB.
const MAX_MEMORY: u64 = 1 << 30;
/// Maximum size of a file, in bytes.
pub const MAX_FILE: u64 = 1 << 30;

/// Rejects an image that is too large or empty.
pub fn check_size(width: u32, height: u32) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(Error::input(format!(
            "an image of {width}x{height} pixels is empty"
        )));
    }
    if width > MAX_SIDE || height > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(
            Error::input(format!("an image of {width}x{height} pixels is too large"))
                .with_expected(format!("at most {MAX_SIDE} per side and {MAX_PIXELS} in total"))
                .with_help("split it into tiles or resize it first"),
        );
    }
    Ok(())
}

/// Rejects an image of an acceptable size whose format needs too much memory: `bytes` in total.
pub fn check_memory(format: Format, width: u32, height: u32, bytes: u64) -> Result<()> {
    if bytes > MAX_MEMORY {
        let name = format.name();
        return Err(Error::input(format!(
            "decoding this {name} of {width}x{height} pixels takes {} MB",
            bytes >> 20
        ))
        .with_expected(format!("at most {} MB", MAX_MEMORY >> 20))
        .with_help("save it as a plain 8-bit PNG, split it into tiles, or resize it"));
    }
    Ok(())
}

/// Size in bytes of `height` rows of `width` pixels. Sizes that passed [`check_size`] don't
/// overflow.
pub fn bytes_of(width: u32, height: u32, bytes_per_pixel: usize) -> usize {
    width as usize * height as usize * bytes_per_pixel
}

/// The error for a file that is truncated or corrupt.
pub fn damaged(format: Format, message: &str) -> Error {
    Error::input(format!(
        "this {} is truncated or corrupt: {message}",
        format.name()
    ))
    .with_help("copy or download the file again, or remove its record from the annotations")
}

/// The error for a valid file of an unsupported kind.
pub fn unsupported(format: Format, message: &str) -> Error {
    Error::input(format!(
        "this kind of {} is not supported: {message}",
        format.name()
    ))
    .with_help("save it again as a plain 8-bit PNG or JPEG")
}

//! What an image may need, decided by its header before memory is taken.

use super::format::Format;
use cvhost::error::{Error, Result};

/// The longest side of an image, in pixels.
const MAX_SIDE: u32 = 32_768;
/// The most pixels of an image. Pillow refuses the same number as a decompression bomb.
const MAX_PIXELS: u64 = 178_956_970;
/// The most memory that decoding one image may take, in bytes: its pixels, and what its format needs to get at them. As RGB, the
/// largest image takes half of it.
const MAX_MEMORY: u64 = 1 << 30;
/// The largest file that is read at all, in bytes.
pub const MAX_FILE: u64 = 1 << 30;

/// Refuses an image that is too large, or that has no content.
pub fn check_size(width: u32, height: u32) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(Error::input(format!(
            "an image of {width}x{height} pixels has no content"
        )));
    }
    if width > MAX_SIDE || height > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(
            Error::input(format!("an image of {width}x{height} pixels is too large"))
                .with_expected(format!("at most {MAX_SIDE} on a side and {MAX_PIXELS} in all"))
                .with_help("cut it into tiles or make it smaller first"),
        );
    }
    Ok(())
}

/// Refuses an image of an acceptable size whose kind of file needs too much memory: `bytes` in all.
pub fn check_memory(format: Format, width: u32, height: u32, bytes: u64) -> Result<()> {
    if bytes > MAX_MEMORY {
        let name = format.name();
        return Err(Error::input(format!(
            "decoding this {name} of {width}x{height} pixels takes {} MB",
            bytes >> 20
        ))
        .with_expected(format!("at most {} MB", MAX_MEMORY >> 20))
        .with_help("save it as a plain 8-bit PNG, cut it into tiles, or make it smaller"));
    }
    Ok(())
}

/// Bytes of `height` rows of `width` pixels. Sizes that passed [`check_size`] don't overflow.
pub fn bytes_of(width: u32, height: u32, bytes_per_pixel: usize) -> usize {
    width as usize * height as usize * bytes_per_pixel
}

/// A file that ends too early or holds nonsense.
pub fn damaged(format: Format, message: &str) -> Error {
    Error::input(format!(
        "this {} is truncated or corrupt: {message}",
        format.name()
    ))
    .with_help("copy or download the file again, or take its record out of the annotations")
}

/// A file that is right, but of a kind that isn't read.
pub fn unsupported(format: Format, message: &str) -> Error {
    Error::input(format!(
        "this kind of {} is not supported: {message}",
        format.name()
    ))
    .with_help("save it again as a plain 8-bit PNG or JPEG")
}

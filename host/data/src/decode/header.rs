//! An image's header: its stored size and its orientation.

use super::format::Format;
use super::head::Head;
use super::limits::{check_memory, check_size};
use super::{bmp, gif, jpeg, png, tiff, webp};
use cvhost::error::Result;

/// The stored size in pixels, and the EXIF orientation, 1 to 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub format: Format,
    pub width: u32,
    pub height: u32,
    pub orientation: u8,
    /// The memory that decoding needs in addition to the RGB pixels, in bytes.
    pub extra_memory: u64,
}

impl Header {
    /// Reads only the header.
    ///
    /// # Errors
    /// Errors are of kind `Input`: not an image, too large, truncated or corrupt.
    pub fn read(head: &mut dyn Head) -> Result<Header> {
        let format = Format::of(head.start(Format::HEAD))?;
        let header = match format {
            Format::Jpeg => jpeg::header(head),
            Format::Png => png::header(head),
            Format::Gif => gif::header(head),
            Format::Bmp => bmp::header(head),
            Format::Tiff => tiff::header(head),
            Format::WebP => webp::header(head),
        }?;
        check_size(header.width, header.height)?;
        Ok(header)
    }

    /// Width and height of the upright image.
    pub fn upright_size(&self) -> (u32, u32) {
        if self.swaps_sides() {
            (self.height, self.width)
        } else {
            (self.width, self.height)
        }
    }

    /// Whether applying the orientation swaps width and height.
    pub fn swaps_sides(&self) -> bool {
        self.orientation >= 5
    }

    /// Rejects an image whose decoding needs too much memory. An image that must be rotated by a
    /// quarter turn needs its pixels twice.
    pub fn check_memory(&self) -> Result<()> {
        let copies = if self.swaps_sides() { 2 } else { 1 };
        let pixels = u64::from(self.width) * u64::from(self.height) * 3;
        let bytes = (pixels * copies).saturating_add(self.extra_memory);
        check_memory(self.format, self.width, self.height, bytes)
    }
}

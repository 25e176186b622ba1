//! BMP with 1 to 32 bits, including run-length encoded and top-down files.

use super::format::Format;
use super::head::Head;
use super::header::Header;
use super::limits::damaged;
use super::raster;
use cvhost::error::Result;
use image::ImageFormat;

/// The oldest header has 16-bit sizes. In the others they are signed, and a negative height means
/// that rows are stored top-down.
pub fn header(head: &mut dyn Head) -> Result<Header> {
    let (width, height) = size(head).ok_or_else(|| damaged(Format::Bmp, "it ends within its header"))?;
    Ok(Header {
        format: Format::Bmp,
        width,
        height,
        orientation: 1,
        // Alpha is decoded if there is any.
        extra_memory: u64::from(width).saturating_mul(u64::from(height)),
    })
}

fn size(head: &mut dyn Head) -> Option<(u32, u32)> {
    if head.le32(14)? == 12 {
        return Some((u32::from(head.le16(18)?), u32::from(head.le16(20)?)));
    }
    let side = |v: u32| (v as i32).unsigned_abs();
    Some((side(head.le32(18)?), side(head.le32(22)?)))
}

/// Decodes to RGB pixels; alpha is dropped.
pub fn decode(bytes: &[u8], header: &Header) -> Result<Vec<u8>> {
    let mut pixels = raster::rgb(bytes, header, ImageFormat::Bmp)?;
    if let Some(max) = fields(bytes) {
        let tables = max.map(as_pillow);
        for pixel in pixels.as_chunks_mut::<3>().0 {
            for (value, table) in pixel.iter_mut().zip(&tables) {
                *value = table.get(usize::from(*value)).copied().unwrap_or(*value);
            }
        }
    }
    Ok(pixels)
}

/// The maximum values of red, green and blue in an image with 16 bits per pixel.
fn fields(bytes: &[u8]) -> Option<[u32; 3]> {
    let mut head = bytes;
    let header = head.le32(14)?;
    if header < 40 || head.le16(28)? != 16 {
        return None;
    }
    let green = if head.le32(30)? == 3 {
        head.le32(58)?
    } else {
        0x3e0
    };
    Some([31, if green == 0x7e0 { 63 } else { 31 }, 31])
}

/// A table by 8-bit value: `image` rounds to the nearest of 255 levels, Pillow rounds down.
fn as_pillow(max: u32) -> [u8; 256] {
    let mut table = [0; 256];
    for (value, out) in (0u32..).zip(&mut table) {
        let field = (value * max + 127) / 255;
        *out = (field * 255 / max) as u8;
    }
    table
}

//! BMP, of 1 to 32 bits, also run-length coded and stored from the top.

use super::format::Format;
use super::head::Head;
use super::header::Header;
use super::limits::damaged;
use super::raster;
use cvhost::error::Result;
use image::ImageFormat;

/// The oldest header has 16-bit sizes; in the others they are signed, a negative height stands for rows from the top.
pub fn header(head: &mut dyn Head) -> Result<Header> {
    let (width, height) = size(head).ok_or_else(|| damaged(Format::Bmp, "it ends within its header"))?;
    Ok(Header {
        format: Format::Bmp,
        width,
        height,
        orientation: 1,
        // Read with alpha where it has some.
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

/// Pixels as RGB; alpha is dropped.
pub fn decode(bytes: &[u8], header: &Header) -> Result<Vec<u8>> {
    let mut pixels = raster::rgb(bytes, header, ImageFormat::Bmp)?;
    if let Some(most) = fields(bytes) {
        let tables = most.map(as_pillow);
        for pixel in pixels.as_chunks_mut::<3>().0 {
            for (value, table) in pixel.iter_mut().zip(&tables) {
                *value = table.get(usize::from(*value)).copied().unwrap_or(*value);
            }
        }
    }
    Ok(pixels)
}

/// The largest values of red, green and blue in an image of 16 bits a pixel.
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

/// By 8-bit value: what `image` rounds to the nearest of 255 parts, Pillow rounds down.
fn as_pillow(most: u32) -> [u8; 256] {
    let mut table = [0; 256];
    for (value, out) in (0u32..).zip(&mut table) {
        let field = (value * most + 127) / 255;
        *out = (field * 255 / most) as u8;
    }
    table
}

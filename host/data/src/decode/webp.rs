//! WebP: the first frame.

use super::exif::Notes;
use super::format::Format;
use super::head::Head;
use super::header::Header;
use super::limits::damaged;
use super::raster;
use cvhost::error::Result;

/// Reads the first chunk: `VP8X` for the canvas, `VP8L` with 14 bits per side after its signature
/// byte, or a lossy key frame.
pub fn header(head: &mut dyn Head) -> Result<Header> {
    let (width, height) = size(head).ok_or_else(|| damaged(Format::WebP, "its header can't be read"))?;
    Ok(Header {
        format: Format::WebP,
        width,
        height,
        orientation: notes(head).orientation(),
        // Measured: a lossy frame with alpha takes 10.5 bytes per pixel in total; a frame of an
        // animation and its canvas take 12.
        extra_memory: u64::from(width) * u64::from(height) * if is_animated(head) { 13 } else { 8 },
    })
}

fn is_animated(head: &mut dyn Head) -> bool {
    const ANIMATION: u8 = 2;
    head.get(12, 4) == Some(b"VP8X") && head.byte(20).is_some_and(|flags| flags & ANIMATION != 0)
}

fn size(head: &mut dyn Head) -> Option<(u32, u32)> {
    match head.get(12, 4)? {
        b"VP8X" => {
            let low = |head: &mut dyn Head, at| Some((head.le32(at)? & 0xff_ffff) + 1);
            // A 4-byte read would extend into the next chunk.
            let height = u32::from(head.le16(27)?) | u32::from(head.byte(29)?) << 16;
            Some((low(head, 24)?, height + 1))
        }
        b"VP8L" => {
            let bits = head.le32(21)?;
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8 " => {
            let side = |v: u16| u32::from(v & 0x3fff);
            Some((side(head.le16(26)?), side(head.le16(28)?)))
        }
        _ => None,
    }
}

/// Only the extended format has chunks besides the image's.
fn notes(head: &mut dyn Head) -> Notes {
    let mut notes = Notes::default();
    let mut xmp: Option<Vec<u8>> = None;
    if head.get(12, 4) != Some(b"VP8X") {
        return notes;
    }
    let mut at = 12;
    while let (Some(name), Some(length)) = (head.be32(at), head.le32(at + 4)) {
        let body = |head: &mut dyn Head| head.get(at + 8, length as usize).map(<[u8]>::to_vec);
        match &name.to_be_bytes() {
            b"EXIF" => {
                if let Some(block) = body(head) {
                    notes.exif(&block);
                }
            }
            b"XMP " => xmp = body(head),
            _ => {}
        }
        at += 8 + u64::from(length) + u64::from(length & 1);
    }
    if let Some(text) = xmp {
        notes.xmp(&text);
    }
    notes
}

/// Decodes to RGB pixels; alpha is dropped.
pub fn decode(bytes: &[u8], header: &Header) -> Result<Vec<u8>> {
    raster::rgb(bytes, header, image::ImageFormat::WebP)
}

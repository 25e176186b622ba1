//! The size of a picture by its header alone.

use image::ImageFormat;
use std::io::Cursor;

/// Width and height in pixels as the header says; `None` where it isn't readable. JPEG isn't read here.
pub fn size(bytes: &[u8], format: ImageFormat) -> Option<(u64, u64)> {
    match format {
        // The header chunk is always the first.
        ImageFormat::Png => Some((big_endian(bytes, 16)?, big_endian(bytes, 20)?)),
        // The logical screen; frames are drawn onto it.
        ImageFormat::Gif => Some((little(bytes, 6, 2)?, little(bytes, 8, 2)?)),
        ImageFormat::Bmp => bmp(bytes),
        ImageFormat::WebP => webp(bytes),
        ImageFormat::Tiff => tiff(bytes),
        _ => None,
    }
}

fn big_endian(bytes: &[u8], at: usize) -> Option<u64> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u64::from(u32::from_be_bytes(four)))
}

/// A little-endian number of up to 4 bytes.
fn little(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    Some(
        bytes
            .get(at..at + length)?
            .iter()
            .rev()
            .fold(0, |value, &byte| value << 8 | u64::from(byte)),
    )
}

/// The oldest header has 16-bit sizes; in the others they are signed, a negative height stands for rows from the top.
fn bmp(bytes: &[u8]) -> Option<(u64, u64)> {
    if little(bytes, 14, 4)? == 12 {
        return Some((little(bytes, 18, 2)?, little(bytes, 20, 2)?));
    }
    let signed = |at| Some(u64::from((little(bytes, at, 4)? as u32 as i32).unsigned_abs()));
    Some((signed(18)?, signed(22)?))
}

/// By the first chunk: `VP8X` for the canvas, `VP8L` with 14 bits a side after its signature byte, or a lossy key frame.
fn webp(bytes: &[u8]) -> Option<(u64, u64)> {
    match bytes.get(12..16)? {
        b"VP8X" => Some((little(bytes, 24, 3)? + 1, little(bytes, 27, 3)? + 1)),
        b"VP8L" => {
            let bits = little(bytes, 21, 4)?;
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8 " => Some((little(bytes, 26, 2)? & 0x3fff, little(bytes, 28, 2)? & 0x3fff)),
        _ => None,
    }
}

/// An EXIF block is a TIFF, so its reader reads these, too.
fn tiff(bytes: &[u8]) -> Option<(u64, u64)> {
    let tags = exif::Reader::new()
        .continue_on_error(true)
        .read_from_container(&mut Cursor::new(bytes))
        .or_else(|error| error.distill_partial_result(|_| {}))
        .ok()?;
    let number = |tag| {
        tags.get_field(tag, exif::In::PRIMARY)?
            .value
            .get_uint(0)
            .map(u64::from)
    };
    Some((number(exif::Tag::ImageWidth)?, number(exif::Tag::ImageLength)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::DynamicImage;

    #[test]
    fn the_size_is_read_from_the_header_of_every_format() {
        let folder = tempfile::tempdir().unwrap();
        for format in [
            ImageFormat::Png,
            ImageFormat::Gif,
            ImageFormat::Bmp,
            ImageFormat::WebP,
            ImageFormat::Tiff,
        ] {
            let path = folder.path().join("picture");
            DynamicImage::new_rgba8(300, 7)
                .save_with_format(&path, format)
                .unwrap();
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(size(&bytes, format), Some((300, 7)), "{format:?}");
            assert_eq!(size(&bytes[..9], format), None, "{format:?}");
        }
        let mut lossy = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a".to_vec();
        lossy.extend([0x2c, 0x41, 7, 0]);
        assert_eq!(size(&lossy, ImageFormat::WebP), Some((300, 7)));
    }
}

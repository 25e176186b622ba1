//! Reads the size of an image from its file header, after applying its orientation.

use cvhost_plugin_api::{PluginError, Result};
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

/// XMP is searched only in this many leading bytes: cameras and editors write it before the pixel
/// data.
const XMP_WITHIN: u64 = 256 << 10;

/// Width and height in pixels after the rotation given in the image's EXIF or XMP data: boxes are
/// drawn on upright images.
///
/// # Errors
/// The file can't be read or has no image header.
pub fn upright_size(path: &Path) -> Result<(u32, u32)> {
    let failed = |e: &dyn std::fmt::Display| {
        PluginError::data(format!(
            "cannot read the size of the image {}: {e}",
            path.display()
        ))
    };
    let mut reader = BufReader::new(File::open(path).map_err(|e| failed(&e))?);
    let size = imagesize::reader_size(&mut reader).map_err(|e| failed(&e))?;
    reader.rewind().map_err(|e| failed(&e))?;
    let side = |side: usize| u32::try_from(side).map_err(|e| failed(&e));
    let (width, height) = (side(size.width)?, side(size.height)?);
    // EXIF orientations 5 to 8 include a quarter turn.
    Ok(if orientation(&mut reader) >= 5 {
        (height, width)
    } else {
        (width, height)
    })
}

/// The orientation, 1 to 8, from EXIF or, if that has none, from XMP; 1 if neither has one.
fn orientation(reader: &mut BufReader<File>) -> u32 {
    let exif = exif::Reader::new()
        .continue_on_error(true)
        .read_from_container(reader)
        .or_else(|error| error.distill_partial_result(|_| {}));
    let field = exif
        .as_ref()
        .ok()
        .and_then(|exif| exif.get_field(exif::Tag::Orientation, exif::In::PRIMARY));
    let value = match field {
        Some(field) => field.value.get_uint(0),
        None => in_xmp(reader),
    };
    value.filter(|value| (1..=8).contains(value)).unwrap_or(1)
}

/// The orientation from XMP at the beginning of the file: `tiff:Orientation="6"` or
/// `<tiff:Orientation>6`.
fn in_xmp(reader: &mut BufReader<File>) -> Option<u32> {
    const NAME: &[u8] = b"tiff:Orientation";
    let mut begin = Vec::new();
    reader.rewind().ok()?;
    reader.take(XMP_WITHIN).read_to_end(&mut begin).ok()?;
    // Few bytes are a `t`, so this is fast.
    let places = begin
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b't')
        .map(|(at, _)| at);
    places
        .filter_map(|at| begin.get(at..)?.strip_prefix(NAME))
        .find_map(|rest| {
            let value = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
            char::from(*value.first()?).to_digit(10)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 3 x 2 PNG with an `eXIf` chunk of this orientation. Checksums aren't verified.
    fn png(orientation: u8) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x03\0\0\0\x02\x08\x02\0\0\0\0\0\0\0".to_vec();
        let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend((exif.len() as u32).to_be_bytes());
        bytes.extend(b"eXIf");
        bytes.extend(exif);
        bytes.extend(b"\0\0\0\0\0\0\0\0IEND\0\0\0\0");
        bytes
    }

    #[test]
    fn an_image_rotated_by_a_quarter_turn_has_its_sides_swapped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jpg"); // the content matters, not the name
        for (orientation, size) in [(1, (3, 2)), (3, (3, 2)), (6, (2, 3)), (8, (2, 3)), (9, (3, 2))] {
            std::fs::write(&path, png(orientation)).unwrap();
            assert_eq!(upright_size(&path).unwrap(), size, "{orientation}");
        }
    }

    #[test]
    fn xmp_is_used_if_exif_has_no_orientation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let bare = png(1)[..33].to_vec();
        for (text, size) in [
            ("tiff:Orientation=\"6\"", (2, 3)),
            ("<tiff:Orientation>5<", (2, 3)),
            ("tiff:Orientation", (3, 2)),
        ] {
            let mut bytes = bare.clone();
            bytes.extend(text.as_bytes());
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(upright_size(&path).unwrap(), size, "{text}");
        }
        let mut both = png(1);
        both.extend(b"tiff:Orientation=\"6\"");
        std::fs::write(&path, both).unwrap();
        assert_eq!(upright_size(&path).unwrap(), (3, 2));
    }

    #[test]
    fn a_file_without_a_header_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jpg");
        assert!(upright_size(&path).unwrap_err().message.contains("a.jpg"));
        std::fs::write(&path, "no image").unwrap();
        assert!(upright_size(&path).unwrap_err().message.contains("a.jpg"));
    }
}

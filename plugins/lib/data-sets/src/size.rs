//! The size of a picture by its file's header, as it will be when it stands upright.

use cvhost_plugin_api::{PluginError, Result};
use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::Path;

/// Width and height in pixels, after the turn that the picture's EXIF data ask for: boxes are drawn on upright pictures.
///
/// # Errors
/// A file that can't be read, or has no header of a picture.
pub fn upright_size(path: &Path) -> Result<(u32, u32)> {
    let failed = |e: &dyn std::fmt::Display| {
        PluginError::data(format!(
            "cannot read the size of the picture {}: {e}",
            path.display()
        ))
    };
    let mut reader = BufReader::new(File::open(path).map_err(|e| failed(&e))?);
    let size = imagesize::reader_size(&mut reader).map_err(|e| failed(&e))?;
    reader.rewind().map_err(|e| failed(&e))?;
    let side = |side: usize| u32::try_from(side).map_err(|e| failed(&e));
    let (width, height) = (side(size.width)?, side(size.height)?);
    // The last four of EXIF's eight orientations are turned by a quarter.
    Ok(if orientation(&mut reader) >= 5 {
        (height, width)
    } else {
        (width, height)
    })
}

/// The orientation, 1 to 8, that the file notes; 1 where it notes none, or nothing readable.
fn orientation(reader: &mut BufReader<File>) -> u32 {
    let exif = exif::Reader::new()
        .continue_on_error(true)
        .read_from_container(reader)
        .or_else(|error| error.distill_partial_result(|_| {}));
    exif.ok()
        .and_then(|exif| {
            let field = exif.get_field(exif::Tag::Orientation, exif::In::PRIMARY)?;
            field.value.get_uint(0)
        })
        .filter(|value| (1..=8).contains(value))
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PNG of 3 x 2 with an `eXIf` chunk of this orientation. Checksums aren't looked at.
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
    fn a_picture_that_is_turned_by_a_quarter_has_its_sides_swapped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jpg"); // content decides, not the name
        for (orientation, size) in [(1, (3, 2)), (3, (3, 2)), (6, (2, 3)), (8, (2, 3)), (9, (3, 2))] {
            std::fs::write(&path, png(orientation)).unwrap();
            assert_eq!(upright_size(&path).unwrap(), size, "{orientation}");
        }
    }

    #[test]
    fn a_file_without_a_header_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jpg");
        assert!(upright_size(&path).unwrap_err().message.contains("a.jpg"));
        std::fs::write(&path, "no picture").unwrap();
        assert!(upright_size(&path).unwrap_err().message.contains("a.jpg"));
    }
}

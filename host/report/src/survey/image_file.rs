//! Inspects an image file: whether it can be read, its size, format and content hash.

use cvhost::error::{Error, Kind, Result};
use cvhost_data::{Measured, decode, measure, recycle};
use cvhost_plugin_api::data::ImageSource;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher};
use std::io::Read;
use std::path::Path;

/// SHA-256 of the encoded bytes, or of size and pixels for images that aren't encoded.
pub type Hash = [u8; 32];

/// Properties of a readable image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Format detected from the content, and size in pixels with EXIF orientation applied.
    pub measured: Measured,
    pub hash: Hash,
}

/// Decodes an image completely and hashes its bytes. Errors name the file.
pub fn look(source: &ImageSource) -> Result<Seen> {
    let image = decode(source)?;
    let measured = Measured {
        width: image.width,
        height: image.height,
        ..measure(source)?
    };
    recycle(image);
    let hash = hash(source)?;
    Ok(Seen { measured, hash })
}

fn hash(source: &ImageSource) -> Result<Hash> {
    let mut hasher = Sha256::new();
    if source.decoded.width > 0 {
        hasher.update(source.decoded.width.to_le_bytes());
        hasher.update(&source.decoded.pixels);
    } else if !source.bytes.is_empty() {
        hasher.update(&source.bytes);
    } else {
        let path = Path::new(source.path.as_str());
        let io = |e: std::io::Error| Error::io(Kind::Input, "read the image", path, &e);
        let mut file = File::open(path).map_err(io)?;
        let mut buffer = vec![0u8; 64 << 10];
        loop {
            match file.read(&mut buffer).map_err(io)? {
                0 => break,
                count => hasher.update(buffer.get(..count).unwrap_or_default()),
            }
        }
    }
    Ok(hasher.finalize().into())
}

/// The files seen so far, 8 bytes each: several records may share an image.
#[derive(Debug, Default)]
pub struct Files(HashSet<u64>);

impl Files {
    /// Whether an image is seen for the first time. Always true for an image without a file.
    pub fn is_new(&mut self, path: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        path.is_empty() || self.0.insert(hasher.finish())
    }
}

/// The format that the file extension implies, named as in [`Measured::format`]; `None` for an
/// unknown extension.
pub fn named_format(path: &str) -> Option<&'static str> {
    let extension = Path::new(path).extension()?.to_str()?.to_lowercase();
    Some(match extension.as_str() {
        "jpg" | "jpeg" | "jpe" | "jfif" => "JPEG",
        "png" => "PNG",
        "bmp" | "dib" => "BMP",
        "gif" => "GIF",
        "tif" | "tiff" => "TIFF",
        "webp" => "WebP",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost_plugin_api::data::Image;

    #[test]
    fn a_file_is_new_once() {
        let mut files = Files::default();
        assert_eq!(
            ["a.png", "b.png", "a.png", "", ""].map(|path| files.is_new(path)),
            [true, true, false, true, true]
        );
    }

    #[test]
    fn equal_bytes_have_equal_hashes_on_disk_and_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let mut png = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(9, 4)
            .write_to(&mut png, image::ImageFormat::Png)
            .unwrap();
        let png = png.into_inner();
        let file = folder.path().join("wrong-name.jpg");
        std::fs::write(&file, &png).unwrap();
        let on_disk = look(&ImageSource::file(file.to_str().unwrap())).unwrap();
        let in_memory = look(&ImageSource::encoded(png)).unwrap();
        assert_eq!(on_disk, in_memory);
        assert_eq!(
            (
                on_disk.measured.format,
                on_disk.measured.width,
                on_disk.measured.height
            ),
            ("PNG", 9, 4)
        );
        assert_eq!(named_format(file.to_str().unwrap()), Some("JPEG"));
        let pixels = |rgb| {
            look(&ImageSource::decoded(Image::filled(2, 2, rgb)))
                .unwrap()
                .hash
        };
        assert_eq!(pixels([1, 2, 3]), pixels([1, 2, 3]));
        assert_ne!(pixels([1, 2, 3]), pixels([1, 2, 4]));
    }
}

//! Pictures as 8-bit RGB, from files of JPEG, PNG, BMP, GIF, TIFF and WebP.
//!
//! Pixels are those that Pillow's `Image.open(…)`, `exif_transpose` and `convert("RGB")` give: JPEG goes through libjpeg-turbo
//! with the accurate DCT and smooth upsampling, alpha is dropped, CMYK JPEGs are taken as Adobe's inverted ones, and 16 bits of a
//! colour keep their high byte. 16-bit greyscale is by value, as in Pillow: 255 and all above is white. A picture that uses the
//! range of 16 bits has to be scaled to 8 first.
//!
//! Buffers are the thread's own: one that decodes picture after picture gives each back with [`recycle`] when done with it.

mod bmp;
mod buffers;
mod colour;
mod exif;
mod format;
mod gif;
mod head;
mod header;
mod jpeg;
mod limits;
mod png;
mod promises;
mod raster;
mod tiff;
mod webp;

use crate::orientation;
use cvhost::error::{Error, Kind, Result};
use cvhost_plugin_api::data::{Picture, PictureSource};
use format::Format;
use head::FileHead;
use header::Header;
use limits::MAX_FILE;
pub use promises::check_promises;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A picture that may have been decoded at a part of its size.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaled {
    /// At least as large as was asked for, or of its full size.
    pub picture: Picture,
    /// The full size, upright: width and height in pixels.
    pub original: (u32, u32),
}

/// The picture of a source, upright, as 8-bit RGB. The content decides the format, never the file's name. Errors are of kind
/// `Input` and name the file: not there, not a picture, too large (told from the header, before memory is taken), truncated or
/// corrupt.
pub fn decode(source: &PictureSource) -> Result<Picture> {
    Ok(decode_source(source, None)?.picture)
}

/// As [`decode`], but a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where both sides, upright, stay at least `at_least`
/// (width, height) in pixels: several times faster for a large photo that is made small anyway. Other formats have their full size.
///
/// libjpeg-turbo leaves the highest frequencies out, which is not what resizing does: after a resize to the wanted size, pixels of
/// photos differ from those of the full picture by 1/255 on average (16 photos at 224 pixels: 0.8 bilinear, 0.9 bicubic; the worst
/// photo 2.5, single pixels up to 67). So it is off where parity is asked for.
pub fn decode_scaled(source: &PictureSource, at_least: (u32, u32)) -> Result<Scaled> {
    decode_source(source, Some(at_least))
}

/// What the header of a picture says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// By the content, as messages name it: `JPEG`, `PNG`, …; `pixels` for a picture that is decoded already.
    pub format: &'static str,
    /// Upright, in pixels.
    pub width: u32,
    pub height: u32,
    /// Whether EXIF data say that the picture is stored turned or mirrored.
    pub turned: bool,
}

/// Width and height of the picture of a source, upright, in pixels. Reads the header alone, and of a file only the parts that
/// have it. Errors are as for [`decode`], as far as the header tells.
pub fn size(source: &PictureSource) -> Result<(u32, u32)> {
    let measured = measure(source)?;
    Ok((measured.width, measured.height))
}

/// As [`size`], with all that the header says.
pub fn measure(source: &PictureSource) -> Result<Measured> {
    let header = match Place::of(source)? {
        Place::Decoded(picture) => {
            return Ok(Measured {
                format: "pixels",
                width: picture.width,
                height: picture.height,
                turned: false,
            });
        }
        Place::Memory(mut bytes) => Header::read(&mut bytes).map_err(in_memory)?,
        Place::File(path) => {
            let (file, length) = open(path)?;
            let mut head = FileHead::new(file, length).map_err(|e| reading(path, &e))?;
            let header = Header::read(&mut head);
            // What couldn't be read isn't a defect of the picture.
            head.finish().map_err(|e| reading(path, &e))?;
            header.map_err(|e| within(e, path))?
        }
    };
    let (width, height) = header.upright_size();
    Ok(Measured {
        format: header.format.name(),
        width,
        height,
        turned: header.orientation > 1,
    })
}

/// Takes the memory of a picture that isn't needed any more for the thread's next one.
pub fn recycle(picture: Picture) {
    buffers::keep(picture.pixels.into_vec());
}

/// Where the picture of a source is.
enum Place<'a> {
    Decoded(&'a Picture),
    Memory(&'a [u8]),
    File(&'a Path),
}

impl<'a> Place<'a> {
    fn of(source: &'a PictureSource) -> Result<Place<'a>> {
        if source.decoded.width > 0 {
            check(&source.decoded)?;
            Ok(Place::Decoded(&source.decoded))
        } else if !source.bytes.is_empty() {
            Ok(Place::Memory(&source.bytes))
        } else if !source.path.is_empty() {
            Ok(Place::File(Path::new(source.path.as_str())))
        } else {
            Err(Error::input(
                "a record's picture has neither a file nor bytes nor pixels",
            ))
        }
    }
}

fn decode_source(source: &PictureSource, at_least: Option<(u32, u32)>) -> Result<Scaled> {
    match Place::of(source)? {
        Place::Decoded(picture) => Ok(Scaled {
            picture: picture.clone(),
            original: (picture.width, picture.height),
        }),
        Place::Memory(bytes) => decode_bytes(bytes, at_least).map_err(in_memory),
        Place::File(path) => {
            let bytes = read(path)?;
            let scaled = decode_bytes(&bytes, at_least).map_err(|e| within(e, path));
            buffers::keep(bytes);
            scaled
        }
    }
}

fn in_memory(error: Error) -> Error {
    error.within("picture in memory")
}

fn within(error: Error, path: &Path) -> Error {
    error.within(path.display().to_string())
}

fn reading(path: &Path, error: &std::io::Error) -> Error {
    Error::io(Kind::Input, "read the picture", path, error)
}

fn check(picture: &Picture) -> Result<()> {
    let expected = u64::from(picture.width) * u64::from(picture.height) * 3;
    if picture.pixels.len() as u64 != expected || picture.height == 0 {
        return Err(Error::input(format!(
            "a decoded picture of {}x{} has {} bytes of pixels",
            picture.width,
            picture.height,
            picture.pixels.len()
        ))
        .with_expected(format!("{expected} bytes: height x width x 3")));
    }
    Ok(())
}

/// The file and its length in bytes.
fn open(path: &Path) -> Result<(File, u64)> {
    let about = std::fs::metadata(path).map_err(|e| reading(path, &e))?;
    // A pipe or a device might never end, and opening a pipe might wait.
    if !about.is_file() {
        return Err(Error::input(format!("{} is not a file", path.display())).with_expected("a picture file"));
    }
    if about.len() > MAX_FILE {
        return Err(
            Error::input(format!("{} has {} MB", path.display(), about.len() >> 20))
                .with_expected(format!("a picture file of at most {} MB", MAX_FILE >> 20)),
        );
    }
    Ok((File::open(path).map_err(|e| reading(path, &e))?, about.len()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let (mut file, length) = open(path)?;
    let mut bytes = buffers::take(length as usize);
    file.read_exact(&mut bytes).map_err(|e| reading(path, &e))?;
    Ok(bytes)
}

fn decode_bytes(bytes: &[u8], at_least: Option<(u32, u32)>) -> Result<Scaled> {
    let mut head = bytes;
    let header = Header::read(&mut head)?;
    let mut shrink = 1;
    if let (Format::Jpeg, Some(least)) = (header.format, at_least) {
        shrink = shrinking(header.upright_size(), least);
    }
    header.check_memory()?;
    let (pixels, width, height) = match header.format {
        Format::Jpeg => jpeg::decode(bytes, &header, shrink)?,
        other => {
            let pixels = match other {
                Format::Png => png::decode(bytes, &header)?,
                Format::Gif => gif::decode(bytes, &header)?,
                Format::Bmp => bmp::decode(bytes, &header)?,
                Format::Tiff => tiff::decode(bytes, &header)?,
                _ => webp::decode(bytes, &header)?,
            };
            (pixels, header.width, header.height)
        }
    };
    let stored = Picture {
        width,
        height,
        pixels: pixels.into(),
    };
    let picture = orientation::upright(stored, header.orientation, buffers::take, buffers::keep);
    Ok(Scaled {
        picture,
        original: header.upright_size(),
    })
}

/// By how much a picture of a size may shrink: 8, 4, 2 or 1.
fn shrinking(size: (u32, u32), least: (u32, u32)) -> u32 {
    let fits = |by: &u32| size.0.div_ceil(*by) >= least.0 && size.1.div_ceil(*by) >= least.1;
    [8, 4, 2].into_iter().find(fits).unwrap_or(1)
}

#[cfg(test)]
mod pillow_tests;
#[cfg(test)]
mod scaled_tests;
#[cfg(test)]
mod tests;

//! Decodes JPEG, PNG, BMP, GIF, TIFF and WebP files to 8-bit RGB images.
//!
//! The pixels equal those of Pillow's `Image.open(…)`, `exif_transpose` and `convert("RGB")`: JPEG
//! uses libjpeg-turbo with the accurate DCT and smooth upsampling, alpha is dropped, CMYK JPEGs are
//! read as Adobe's inverted CMYK, and 16-bit colours are reduced to their high byte. As in Pillow,
//! 16-bit greyscale is converted by value: 255 and above is white. An image that uses the full
//! 16-bit range must be scaled to 8 bits first.
//!
//! Buffers are thread-local: a thread that decodes many images returns each of them with
//! [`recycle`] when it is done with it.

mod bmp;
mod buffers;
mod colour;
mod exif;
mod field;
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
use cvhost_plugin_api::data::{ColourSpace, Image, ImageSource};
pub use field::{dense_masks, load_fields};
use format::Format;
use head::FileHead;
use header::Header;
use limits::MAX_FILE;
pub use promises::check_promises;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// An image that may have been decoded at a reduced size.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaled {
    /// At least as large as requested, or of full size.
    pub image: Image,
    /// The upright full size: width and height in pixels.
    pub original: (u32, u32),
}

/// Decodes the image of a source to upright 8-bit RGB. The format is detected from the content, not
/// from the file name.
///
/// # Errors
/// Errors are of kind `Input` and name the file: missing, not an image, too large (determined from
/// the header, before memory is allocated), truncated or corrupt.
pub fn decode(source: &ImageSource) -> Result<Image> {
    Ok(decode_source(source, None)?.image)
}

/// Like [`decode`], but a JPEG is decoded at 1/2, 1/4 or 1/8 of its size as long as both sides of
/// the upright image remain at least `at_least` (width, height) pixels: several times faster for a
/// large photo that is shrunk anyway. Other formats are decoded at full size.
///
/// libjpeg-turbo omits the highest frequencies, which differs from resizing: after a resize to the
/// target size, the pixels of photos differ from those of the full image by 1/255 on average (16
/// photos at 224 pixels: 0.8 bilinear, 0.9 bicubic; the worst photo 2.5, single pixels up to 67).
/// It is therefore disabled if parity is required.
pub fn decode_scaled(source: &ImageSource, at_least: (u32, u32)) -> Result<Scaled> {
    decode_source(source, Some(at_least))
}

/// The properties of an image given by its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// The format detected from the content, as named in messages: `JPEG`, `PNG`, …; `pixels` for
    /// an image that is already decoded.
    pub format: &'static str,
    /// Width of the upright image, in pixels.
    pub width: u32,
    pub height: u32,
    /// Whether the image is stored rotated or mirrored, according to its EXIF data.
    pub turned: bool,
}

/// Width and height of a source's upright image, in pixels. Reads only the header, and only those
/// parts of a file that contain it. Errors are as for [`decode`], as far as the header reveals
/// them.
pub fn size(source: &ImageSource) -> Result<(u32, u32)> {
    let measured = measure(source)?;
    Ok((measured.width, measured.height))
}

/// Like [`size`], but returns all properties in the header.
pub fn measure(source: &ImageSource) -> Result<Measured> {
    let header = match Place::of(source)? {
        Place::Decoded(image) => {
            return Ok(Measured {
                format: "pixels",
                width: image.width,
                height: image.height,
                turned: false,
            });
        }
        Place::Memory(mut bytes) => Header::read(&mut bytes).map_err(in_memory)?,
        Place::File(path) => {
            let (file, length) = open(path)?;
            let mut head = FileHead::new(file, length).map_err(|e| reading(path, &e))?;
            let header = Header::read(&mut head);
            // Report an I/O error first: it isn't a defect of the image.
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

/// Recycles the memory of an unused image for the thread's next one.
pub fn recycle(image: Image) {
    buffers::keep(image.pixels.into_vec());
}

/// The location of a source's image.
enum Place<'a> {
    Decoded(&'a Image),
    Memory(&'a [u8]),
    File(&'a Path),
}

impl<'a> Place<'a> {
    fn of(source: &'a ImageSource) -> Result<Place<'a>> {
        if source.colour_space != ColourSpace::RGB || source.bits != 8 {
            return Err(Error::usage(format!(
                "the task plugin requests a {:?} image with {} bits",
                source.colour_space, source.bits
            ))
            .with_expected("8-bit RGB images, the only kind that this version decodes to"));
        }
        if source.decoded.width > 0 {
            check(&source.decoded)?;
            Ok(Place::Decoded(&source.decoded))
        } else if !source.bytes.is_empty() {
            Ok(Place::Memory(&source.bytes))
        } else if !source.path.is_empty() {
            Ok(Place::File(Path::new(source.path.as_str())))
        } else {
            Err(Error::input(
                "a record's image has neither a file, nor bytes, nor pixels",
            ))
        }
    }
}

fn decode_source(source: &ImageSource, at_least: Option<(u32, u32)>) -> Result<Scaled> {
    match Place::of(source)? {
        Place::Decoded(image) => Ok(Scaled {
            image: image.clone(),
            original: (image.width, image.height),
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
    error.within("image in memory")
}

fn within(error: Error, path: &Path) -> Error {
    error.within(path.display().to_string())
}

fn reading(path: &Path, error: &std::io::Error) -> Error {
    Error::io(Kind::Input, "read the image", path, error)
}

fn check(image: &Image) -> Result<()> {
    if !image.is_rgb8() {
        return Err(
            Error::usage(format!("the task plugin returned the decoded {image:?}"))
                .with_expected("8-bit RGB images, the only kind that this version accepts"),
        );
    }
    let expected = u64::from(image.width) * u64::from(image.height) * 3;
    if image.pixels.len() as u64 != expected || image.height == 0 {
        return Err(Error::input(format!(
            "a decoded image of {}x{} has {} bytes of pixels",
            image.width,
            image.height,
            image.pixels.len()
        ))
        .with_expected(format!("{expected} bytes: height x width x 3")));
    }
    Ok(())
}

/// Opens the file; returns it with its length in bytes.
fn open(path: &Path) -> Result<(File, u64)> {
    let about = std::fs::metadata(path).map_err(|e| reading(path, &e))?;
    // A pipe or a device might be endless, and opening a pipe might block.
    if !about.is_file() {
        return Err(Error::input(format!("{} is not a file", path.display())).with_expected("an image file"));
    }
    if about.len() > MAX_FILE {
        return Err(
            Error::input(format!("{} is {} MB large", path.display(), about.len() >> 20))
                .with_expected(format!("an image file of at most {} MB", MAX_FILE >> 20)),
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
    let stored = Image::rgb8(width, height, pixels);
    let image = orientation::upright(stored, header.orientation, buffers::take, buffers::keep);
    Ok(Scaled {
        image,
        original: header.upright_size(),
    })
}

/// The factor by which an image of this size may be shrunk: 8, 4, 2 or 1.
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

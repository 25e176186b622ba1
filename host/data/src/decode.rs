//! Pictures as 8-bit RGB, from files of JPEG, PNG, BMP, GIF, TIFF and WebP.
//!
//! Pixels are those that Pillow's `Image.open(…).convert("RGB")` gives after `exif_transpose`: JPEG goes through
//! libjpeg-turbo with the accurate DCT and smooth upsampling, alpha is dropped, CMYK is taken as Adobe's inverted one. One
//! difference is meant: 16-bit greyscale keeps its high byte, as 16-bit colour does, where Pillow clips it to white.

mod header;

use crate::orientation;
use cvhost::error::{Error, Kind, Result};
use cvhost_plugin_api::data::{Picture, PictureSource};
use image::{DynamicImage, ImageError, ImageFormat};
use std::fs;
use std::path::Path;
use turbojpeg::{Colorspace, Decompressor, PixelFormat};

/// The longest side of a picture, in pixels.
const MAX_SIDE: u64 = 32_768;
/// The most pixels of a picture. Pillow refuses the same number as a decompression bomb.
const MAX_PIXELS: u64 = 178_956_970;
/// The largest file that is read at all, in bytes.
const MAX_FILE: u64 = 1 << 30;

/// The picture of a source, upright, as 8-bit RGB. The content decides the format, never the file's name. Errors are of kind
/// `Input` and name the file: not there, not a picture, too large (told from the header, before memory is taken), truncated or
/// corrupt.
pub fn decode(source: &PictureSource) -> Result<Picture> {
    if source.decoded.width > 0 {
        return checked(&source.decoded);
    }
    if !source.bytes.is_empty() {
        return decode_bytes(&source.bytes).map_err(|e| e.within("picture in memory"));
    }
    if source.path.is_empty() {
        return Err(Error::input(
            "a record's picture has neither a file nor bytes nor pixels",
        ));
    }
    let path = Path::new(source.path.as_str());
    let bytes = read(path)?;
    decode_bytes(&bytes).map_err(|e| e.within(path.display().to_string()))
}

fn checked(picture: &Picture) -> Result<Picture> {
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
    Ok(picture.clone())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let io = |e: std::io::Error| Error::io(Kind::Input, "read the picture", path, &e);
    let about = fs::metadata(path).map_err(io)?;
    // A pipe or a device might never end.
    if !about.is_file() {
        return Err(Error::input(format!("{} is not a file", path.display())).with_expected("a picture file"));
    }
    if about.len() > MAX_FILE {
        return Err(
            Error::input(format!("{} has {} MB", path.display(), about.len() >> 20))
                .with_expected(format!("a picture file of at most {} MB", MAX_FILE >> 20)),
        );
    }
    fs::read(path).map_err(io)
}

fn decode_bytes(bytes: &[u8]) -> Result<Picture> {
    let picture = match format_of(bytes)? {
        ImageFormat::Jpeg => decode_jpeg(bytes)?,
        format => decode_other(bytes, format)?,
    };
    Ok(orientation::upright(picture, orientation::noted(bytes)))
}

/// The format by the first bytes.
fn format_of(bytes: &[u8]) -> Result<ImageFormat> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let tagged = |at: usize, tag: &[u8]| bytes.get(at..at + tag.len()) == Some(tag);
    if starts(b"\xff\xd8\xff") {
        Ok(ImageFormat::Jpeg)
    } else if starts(b"\x89PNG\r\n\x1a\n") {
        Ok(ImageFormat::Png)
    } else if starts(b"GIF87a") || starts(b"GIF89a") {
        Ok(ImageFormat::Gif)
    } else if starts(b"II*\0") || starts(b"MM\0*") || starts(b"II+\0") || starts(b"MM\0+") {
        Ok(ImageFormat::Tiff)
    } else if starts(b"RIFF") && tagged(8, b"WEBP") {
        Ok(ImageFormat::WebP)
    } else if starts(b"BM") && bytes.get(6..10) == Some(&[0; 4]) {
        Ok(ImageFormat::Bmp)
    } else {
        Err(
            Error::input(format!("not a picture: {}", what_else(bytes))).with_expected(
                "the content of a JPEG, PNG, BMP, GIF, TIFF or WebP file; its name doesn't matter",
            ),
        )
    }
}

/// What a file that isn't a known picture seems to be.
fn what_else(bytes: &[u8]) -> String {
    let head = bytes.get(..bytes.len().min(64)).unwrap_or_default();
    let text = String::from_utf8_lossy(head).trim_start().to_lowercase();
    if bytes.is_empty() {
        "the file is empty".to_owned()
    } else if bytes.get(4..8) == Some(b"ftyp") {
        "an AVIF, HEIC or video file; convert it to JPEG or PNG".to_owned()
    } else if text.starts_with("version https://git-lfs") {
        "a Git LFS pointer; fetch the real file with `git lfs pull`".to_owned()
    } else if text.starts_with("<!doctype html") || text.starts_with("<html") {
        "an HTML page, perhaps what a server answered instead of the picture".to_owned()
    } else if text.starts_with("<svg") || text.starts_with("<?xml") {
        "XML or SVG text".to_owned()
    } else if head
        .iter()
        .all(|&b| b >= 0x20 && b != 0x7f || b"\t\r\n".contains(&b))
    {
        "a text file".to_owned()
    } else {
        format!(
            "it starts with bytes {:02x?}",
            head.get(..head.len().min(8)).unwrap_or_default()
        )
    }
}

/// Refuses a picture by what its header says, before memory is taken for it.
fn check_size(width: u64, height: u64) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(Error::input(format!(
            "a picture of {width}x{height} pixels has no content"
        )));
    }
    if width > MAX_SIDE || height > MAX_SIDE || width * height > MAX_PIXELS {
        return Err(
            Error::input(format!("a picture of {width}x{height} pixels is too large"))
                .with_expected(format!("at most {MAX_SIDE} on a side and {MAX_PIXELS} in all"))
                .with_help("cut it into tiles or make it smaller first"),
        );
    }
    Ok(())
}

fn decode_jpeg(bytes: &[u8]) -> Result<Picture> {
    let bad = |e: turbojpeg::Error| damaged("JPEG", &jpeg_message(&e));
    let mut decompressor = Decompressor::new().map_err(bad)?;
    let header = decompressor.read_header(bytes).map_err(bad)?;
    check_size(header.width as u64, header.height as u64)?;

    let inked = matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK);
    let format = if inked {
        PixelFormat::CMYK
    } else {
        PixelFormat::RGB
    };
    let pitch = header.width * format.size();
    let mut image = turbojpeg::Image {
        pixels: vec![0u8; pitch * header.height],
        width: header.width,
        pitch,
        height: header.height,
        format,
    };
    if let Err(error) = decompressor.decompress(bytes, image.as_deref_mut()) {
        let message = jpeg_message(&error);
        // Only the first warning is told, so truncation behind a harmless one shows by the missing end.
        if !is_harmless(&message) || !has_end(bytes) {
            return Err(damaged("JPEG", &message));
        }
    }
    let pixels = if inked {
        rgb_of_cmyk(&image.pixels)
    } else {
        image.pixels
    };
    Ok(Picture {
        width: header.width as u32,
        height: header.height as u32,
        pixels: pixels.into(),
    })
}

fn jpeg_message(error: &turbojpeg::Error) -> String {
    match error {
        turbojpeg::Error::TurboJpegError(message) => message.clone(),
        other => other.to_string(),
    }
}

/// Whether libjpeg's warning leaves every pixel as its writer meant it; old cameras and editors cause some of these.
fn is_harmless(message: &str) -> bool {
    let harmless = [
        "extraneous bytes before marker",
        "Invalid SOS parameters",
        "unknown JFIF revision",
        "Adobe color transform",
    ];
    harmless.iter().any(|h| message.contains(h))
}

/// Whether an end-of-image marker follows the last start of a scan.
fn has_end(bytes: &[u8]) -> bool {
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    last(0xd9) > last(0xda)
}

/// CMYK to RGB, of JPEGs that store their inks inverted as Adobe's programs do: 255 is no ink. Each product is divided by 255
/// and rounded, as in Pillow's conversion.
fn rgb_of_cmyk(inks: &[u8]) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(inks.len() / 4 * 3);
    for pixel in inks.chunks_exact(4) {
        if let &[c, m, y, k] = pixel {
            let light = u32::from(k);
            for ink in [c, m, y] {
                let product = u32::from(255 - ink) * light + 128;
                let shade = (product + (product >> 8)) >> 8;
                pixels.push((light - shade.min(light)) as u8);
            }
        }
    }
    pixels
}

fn decode_other(bytes: &[u8], format: ImageFormat) -> Result<Picture> {
    let name = format!("{format:?}").to_uppercase();
    // A header without a readable size is the decoder's to refuse; it takes 512 MiB at most.
    if let Some((width, height)) = header::size(bytes, format) {
        check_size(width, height)?;
    }
    // This function, and no generic one: `image` instantiates its decoders for it, which in this crate takes minutes.
    let image = image::load_from_memory_with_format(bytes, format).map_err(|e| image_error(&name, &e))?;
    let (width, height) = (image.width(), image.height());
    check_size(u64::from(width), u64::from(height))?;
    if matches!(
        image,
        DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_)
    ) {
        return Err(Error::input(format!("this {name} holds floating-point pixels"))
            .with_expected("8 or 16 bits a channel")
            .with_help("convert it to 8 bits with the scale that you mean"));
    }
    Ok(Picture {
        width,
        height,
        pixels: rgb_of(image).into(),
    })
}

/// Drops alpha, repeats grey, and keeps the high byte of 16 bits.
fn rgb_of(image: DynamicImage) -> Vec<u8> {
    let high = |v: u16| (v >> 8) as u8;
    match image {
        DynamicImage::ImageRgb8(i) => i.into_raw(),
        DynamicImage::ImageRgba8(i) => i.pixels().flat_map(|p| [p[0], p[1], p[2]]).collect(),
        DynamicImage::ImageLuma8(i) => i.pixels().flat_map(|p| [p[0]; 3]).collect(),
        DynamicImage::ImageLumaA8(i) => i.pixels().flat_map(|p| [p[0]; 3]).collect(),
        DynamicImage::ImageLuma16(i) => i.pixels().flat_map(|p| [high(p[0]); 3]).collect(),
        DynamicImage::ImageLumaA16(i) => i.pixels().flat_map(|p| [high(p[0]); 3]).collect(),
        DynamicImage::ImageRgb16(i) => i
            .pixels()
            .flat_map(|p| [high(p[0]), high(p[1]), high(p[2])])
            .collect(),
        DynamicImage::ImageRgba16(i) => i
            .pixels()
            .flat_map(|p| [high(p[0]), high(p[1]), high(p[2])])
            .collect(),
        other => other.into_rgb8().into_raw(),
    }
}

fn image_error(format: &str, error: &ImageError) -> Error {
    match error {
        ImageError::Unsupported(e) => Error::input(format!("this kind of {format} is not supported: {e}"))
            .with_help("save it again as a plain 8-bit PNG or JPEG"),
        ImageError::Limits(e) => Error::input(format!("this {format} is too large: {e}")).with_expected(
            format!("at most {MAX_SIDE} pixels on a side and {MAX_PIXELS} in all"),
        ),
        other => damaged(format, &other.to_string()),
    }
}

fn damaged(format: &str, message: &str) -> Error {
    Error::input(format!("this {format} is truncated or corrupt: {message}"))
        .with_help("copy or download the file again, or take its record out of the annotations")
}

/// TEMPORARY until decode branch is merged.
pub fn size(source: &PictureSource) -> Result<(u32, u32)> {
    decode(source).map(|p| (p.width, p.height))
}

#[cfg(test)]
mod tests;

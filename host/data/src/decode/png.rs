//! PNG, decoded directly into the image's rows.

use super::exif::Notes;
use super::format::Format;
use super::head::Head;
use super::header::Header;
use super::limits::{bytes_of, damaged, unsupported};
use super::{buffers, colour};
use cvhost::error::Result;
use flate2::read::ZlibDecoder;
use png::{BitDepth, ColorType, DecodeOptions, Decoder, DecodingError, Limits, Transformations};
use std::io::{Cursor, Read};

/// Maximum size of the text of a compressed chunk, in bytes.
const MAX_TEXT: u64 = 4 << 20;
/// Memory limit of the decoder itself, in bytes: rows and ancillary chunks.
const OWN_MEMORY: usize = 16 << 20;

/// The size comes first; the orientation may be in any chunk, including those after the pixels.
pub fn header(head: &mut dyn Head) -> Result<Header> {
    let truncated = || damaged(Format::Png, "it ends within its header");
    let (width, height) = (
        head.be32(16).ok_or_else(truncated)?,
        head.be32(20).ok_or_else(truncated)?,
    );
    let (depth, kind) = (
        head.byte(24).ok_or_else(truncated)?,
        head.byte(25).ok_or_else(truncated)?,
    );
    let interlaced = head.byte(28).ok_or_else(truncated)? != 0;
    let pixels = u64::from(width).saturating_mul(u64::from(height));
    Ok(Header {
        format: Format::Png,
        width,
        height,
        orientation: notes(head).orientation(),
        // An interlaced image is assembled before conversion, unless it is already RGB.
        extra_memory: if interlaced && (depth, kind) != (8, 2) {
            pixels.saturating_mul(8)
        } else {
            0
        },
    })
}

fn notes(head: &mut dyn Head) -> Notes {
    let (mut block, mut profile, mut xmp) = (None, None, None);
    let mut at = 8;
    while let (Some(length), Some(name)) = (head.be32(at), head.be32(at + 4)) {
        let body = |head: &mut dyn Head| head.get(at + 8, length as usize).map(<[u8]>::to_vec);
        match &name.to_be_bytes() {
            b"eXIf" => block = body(head).or(block),
            b"tEXt" | b"zTXt" => profile = body(head).and_then(|b| exif_in_text(&b)).or(profile),
            b"iTXt" => xmp = body(head).and_then(|b| xmp_in_text(&b)).or(xmp),
            b"IEND" => break,
            _ => {}
        }
        at += 12 + u64::from(length);
    }
    let mut notes = Notes::default();
    if let Some(block) = block.or(profile) {
        notes.exif(&block);
    }
    if let Some(text) = xmp {
        notes.xmp(&text);
    }
    notes
}

/// The EXIF block that ImageMagick writes as hexadecimal text: a line break, its kind, its length,
/// the digits.
fn exif_in_text(body: &[u8]) -> Option<Vec<u8>> {
    let rest = body.strip_prefix(b"Raw profile type exif\0")?;
    // Compressed text begins with the number of the compression method, which is 0.
    let text = match rest.strip_prefix(b"\0") {
        Some(compressed) => inflated(compressed)?,
        None => rest.to_vec(),
    };
    let digits = text.splitn(4, |&byte| byte == b'\n').nth(3)?;
    let digits: Vec<u8> = digits
        .iter()
        .filter_map(|&byte| (byte as char).to_digit(16).map(|digit| digit as u8))
        .collect();
    Some(
        digits
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[h, l]| h << 4 | l)
            .collect(),
    )
}

/// The text of an XMP chunk, which consists of the keyword, compression flag and method, language,
/// translated keyword, and text.
fn xmp_in_text(body: &[u8]) -> Option<Vec<u8>> {
    let (&[compressed, _method], rest) = body
        .strip_prefix(b"XML:com.adobe.xmp\0")?
        .split_first_chunk::<2>()?;
    let text = rest.splitn(3, |&byte| byte == 0).nth(2)?;
    if compressed == 1 {
        inflated(text)
    } else {
        Some(text.to_vec())
    }
}

fn inflated(compressed: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    ZlibDecoder::new(compressed)
        .take(MAX_TEXT)
        .read_to_end(&mut text)
        .ok()?;
    Some(text)
}

/// Decodes to RGB pixels. Alpha is dropped, and 16 bits become 8 as in Pillow: colours are reduced
/// to their high byte, grey values above 255 become white.
pub fn decode(bytes: &[u8], header: &Header) -> Result<Vec<u8>> {
    let bad = |e: DecodingError| explained(&e);
    let (width, height) = (header.width, header.height);
    let mut options = DecodeOptions::default();
    // The orientation was already read with the header.
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_limits(Limits { bytes: OWN_MEMORY });
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(bad)?;
    let kind = reader.output_color_type();
    let interlaced = reader.info().interlaced;
    if (reader.info().width, reader.info().height) != (width, height) {
        return Err(damaged(Format::Png, "its headers contradict each other"));
    }

    let from = Samples {
        colour: kind.0,
        depth: kind.1,
        grey: reader.info().color_type == ColorType::Grayscale,
    };
    let mut pixels = buffers::take(bytes_of(width, height, 3));
    let row_bytes = bytes_of(width, 1, 3);
    if kind == (ColorType::Rgb, BitDepth::Eight) {
        reader.next_frame(&mut pixels).map_err(bad)?;
    } else if interlaced {
        let line = reader.output_line_size(width).unwrap_or(0);
        let mut whole = vec![0; line * height as usize];
        reader.next_frame(&mut whole).map_err(bad)?;
        for (row, out) in whole.chunks(line.max(1)).zip(pixels.chunks_mut(row_bytes)) {
            convert(row, from, out);
        }
    } else {
        let mut row = vec![0; reader.output_line_size(width).unwrap_or(0)];
        for out in pixels.chunks_mut(row_bytes) {
            if reader.read_row(&mut row).map_err(bad)?.is_none() {
                return Err(damaged(Format::Png, "rows are missing"));
            }
            convert(&row, from, out);
        }
    }
    Ok(pixels)
}

/// The layout of the decoder's rows.
#[derive(Clone, Copy)]
struct Samples {
    colour: ColorType,
    depth: BitDepth,
    /// Whether the file is grey without alpha, even if a transparent grey value makes the decoder
    /// add alpha.
    grey: bool,
}

/// Converts one row of 8-bit or 16-bit samples to RGB.
fn convert(row: &[u8], from: Samples, out: &mut [u8]) {
    let out = out.as_chunks_mut::<3>().0.iter_mut();
    match (from.colour, from.depth) {
        (ColorType::Grayscale, BitDepth::Sixteen) => {
            for (pixel, sample) in out.zip(row.as_chunks::<2>().0) {
                *pixel = [colour::clipped(u16::from_be_bytes(*sample)); 3];
            }
        }
        (ColorType::GrayscaleAlpha, BitDepth::Sixteen) if from.grey => {
            for (pixel, &[high, low, ..]) in out.zip(row.as_chunks::<4>().0) {
                *pixel = [colour::clipped(u16::from_be_bytes([high, low])); 3];
            }
        }
        // If the file also has alpha, Pillow keeps the high byte, unlike above.
        (ColorType::GrayscaleAlpha, BitDepth::Sixteen) => {
            for (pixel, &[high, ..]) in out.zip(row.as_chunks::<4>().0) {
                *pixel = [high; 3];
            }
        }
        (ColorType::GrayscaleAlpha, _) => {
            for (pixel, &[grey, _]) in out.zip(row.as_chunks::<2>().0) {
                *pixel = [grey; 3];
            }
        }
        (ColorType::Rgb, BitDepth::Sixteen) => {
            for (pixel, &[r, _, g, _, b, _]) in out.zip(row.as_chunks::<6>().0) {
                *pixel = [r, g, b];
            }
        }
        (ColorType::Rgba, BitDepth::Sixteen) => {
            for (pixel, &[r, _, g, _, b, ..]) in out.zip(row.as_chunks::<8>().0) {
                *pixel = [r, g, b];
            }
        }
        (ColorType::Rgba, _) => {
            for (pixel, &[r, g, b, _]) in out.zip(row.as_chunks::<4>().0) {
                *pixel = [r, g, b];
            }
        }
        (ColorType::Rgb, _) => {
            for (pixel, rgb) in out.zip(row.as_chunks::<3>().0) {
                *pixel = *rgb;
            }
        }
        (ColorType::Grayscale | ColorType::Indexed, _) => {
            for (pixel, grey) in out.zip(row) {
                *pixel = [*grey; 3];
            }
        }
    }
}

fn explained(error: &DecodingError) -> cvhost::error::Error {
    match error {
        DecodingError::LimitsExceeded => {
            unsupported(Format::Png, "its ancillary chunks take more than 16 MB")
        }
        other => damaged(Format::Png, &other.to_string()),
    }
}

//! TIFF: the first image, in strips or tiles, with 1 to 16 bits, greyscale, with a palette, RGB or
//! CMYK.

use super::colour::Chroma;
use super::exif::{Ifd, Notes};
use super::format::Format;
use super::head::Head;
use super::header::Header;
use super::limits::{bytes_of, check_memory, damaged, unsupported};
use super::{buffers, colour};
use cvhost::error::Result;
use std::io::Cursor;
use tiff::decoder::{Decoder, Limits};
use tiff::{ColorType, TiffError};

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const SAMPLES: u16 = 277;
const PALETTE: u16 = 320;
const EXTRA_SAMPLES: u16 = 338;
const SAMPLE_FORMAT: u16 = 339;
const XMP: u16 = 700;

/// The value of the compression tag for JPEG.
const IN_JPEG: u64 = 7;

const WHITE_IS_ZERO: u64 = 0;
const BLACK_IS_ZERO: u8 = 1;
const INDEXED: u64 = 3;

/// Maximum size of one strip or tile, in bytes.
const MAX_CHUNK: usize = 256 << 20;
/// Maximum size of a tag's values, in bytes.
const MAX_VALUES: usize = 4 << 20;

pub fn header(head: &mut dyn Head) -> Result<Header> {
    let ifd = ifd(head)?;
    let side = |head: &mut dyn Head, tag, name: &str| {
        ifd.value(head, tag)
            .map(|v| u32::try_from(v).unwrap_or(u32::MAX))
            .ok_or_else(|| damaged(Format::Tiff, &format!("its first IFD has no {name}")))
    };
    let (width, height) = (side(head, WIDTH, "width")?, side(head, HEIGHT, "height")?);
    let mut notes = Notes::default();
    notes.ifd(head, &ifd);
    let xmp = ifd.find(XMP).copied();
    if let Some(text) = xmp.and_then(|entry| head.get(entry.at, usize::try_from(entry.count).ok()?)) {
        notes.xmp(text);
    }
    let bits = ifd.value(head, BITS).unwrap_or(1);
    let samples = ifd.value(head, SAMPLES).unwrap_or(1);
    let row = u64::from(width)
        .saturating_mul(bits.saturating_mul(samples))
        .div_ceil(8);
    Ok(Header {
        format: Format::Tiff,
        width,
        height,
        orientation: notes.orientation(),
        // Three 8-bit samples per pixel are decoded in place.
        extra_memory: if (bits, samples) == (8, 3) {
            0
        } else {
            row.saturating_mul(u64::from(height)).saturating_add(
                u64::from(width)
                    .saturating_mul(u64::from(height))
                    .saturating_mul(samples),
            )
        },
    })
}

fn ifd(head: &mut dyn Head) -> Result<Ifd> {
    Ifd::first(head).ok_or_else(|| damaged(Format::Tiff, "its first IFD is missing"))
}

/// The tags that determine how samples are converted to colours.
struct Kind {
    photometric: u64,
    extra: u64,
    chroma: Chroma,
    bits_reversed: bool,
}

/// Decodes to RGB pixels by Pillow's rules: 16-bit colours are reduced to their high byte, grey
/// values above 255 become white, and alpha is dropped, after premultiplied colours have been
/// divided by it.
pub fn decode(bytes: &[u8], header: &Header) -> Result<Vec<u8>> {
    let (width, height) = (header.width, header.height);
    let mut head = bytes;
    let ifd = ifd(&mut head)?;
    let kind = kind(&mut head, &ifd)?;
    // The decoder doesn't support palettes, and inverts some kinds of white-is-zero but not all. In
    // both cases, make it read plain grey.
    let patched;
    let mut source = bytes;
    if kind.photometric == WHITE_IS_ZERO || kind.photometric == INDEXED {
        patched = as_grey(bytes, &ifd);
        source = &patched;
    }

    let mut limits = Limits::default();
    limits.decoding_buffer_size = MAX_CHUNK;
    limits.intermediate_buffer_size = MAX_CHUNK;
    limits.ifd_value_size = MAX_VALUES;
    let mut decoder = Decoder::new(Cursor::new(source))
        .map_err(explained)?
        .with_limits(limits);
    if decoder.dimensions().map_err(explained)? != (width, height) {
        return Err(damaged(Format::Tiff, "its headers contradict each other"));
    }
    let colours = decoder.colortype().map_err(explained)?;
    let layout = decoder.image_buffer_layout().map_err(explained)?;
    // The decoder's own sample count may be higher than that of the header's tags.
    check_memory(Format::Tiff, width, height, layout.complete_len as u64)?;
    let mut raw = buffers::take(layout.complete_len);
    decoder.read_image_bytes(&mut raw).map_err(explained)?;

    if kind.bits_reversed {
        raw.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
    }
    let channels = usize::from(colours.num_samples());
    let samples = eight_bits(raw, colours, width, header.height, &kind)?;
    let samples = if layout.planes > 1 {
        interleaved(samples, channels)
    } else {
        samples
    };
    let pixels = match kind.photometric {
        INDEXED => indexed(&samples, channels, &mut head, &ifd)?,
        _ => rgb(samples, colours, &kind)?,
    };
    if pixels.len() != bytes_of(width, height, 3) {
        return Err(damaged(Format::Tiff, "its headers contradict each other"));
    }
    Ok(pixels)
}

fn kind(head: &mut dyn Head, ifd: &Ifd) -> Result<Kind> {
    let mut of = |tag, default| ifd.value(head, tag).unwrap_or(default);
    let (bits, compression) = (of(BITS, 1), of(COMPRESSION, 1));
    let sample_format = of(SAMPLE_FORMAT, 1);
    let bits_reversed = of(FILL_ORDER, 1) == 2;
    if !(sample_format == 1 || sample_format == 2 && bits == 8) {
        return Err(
            unsupported(Format::Tiff, "its samples are signed or floating-point numbers")
                .with_help("convert it to 8 bits with the intended scale"),
        );
    }
    if bits_reversed && (compression != 1 || bits > 8) {
        return Err(unsupported(Format::Tiff, "compressed with reversed bit order"));
    }
    Ok(Kind {
        photometric: of(PHOTOMETRIC, WHITE_IS_ZERO),
        extra: of(EXTRA_SAMPLES, 0),
        chroma: if compression == IN_JPEG {
            Chroma::Jpeg
        } else {
            Chroma::Pillow
        },
        bits_reversed,
    })
}

/// A copy of the file with the photometric interpretation set to plain grey.
fn as_grey(bytes: &[u8], ifd: &Ifd) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let entries = ifd.entries.iter().filter(|entry| entry.tag == PHOTOMETRIC);
    for entry in entries {
        let at = entry.at as usize;
        let size = if entry.kind == 4 { 4 } else { 2 };
        if let Some(value) = bytes.get_mut(at..at.saturating_add(size)) {
            value.fill(0);
            let low = if ifd.little {
                value.first_mut()
            } else {
                value.last_mut()
            };
            if let Some(low) = low {
                *low = BLACK_IS_ZERO;
            }
        }
    }
    bytes
}

/// Converts samples to 8 bits each.
fn eight_bits(raw: Vec<u8>, colours: ColorType, width: u32, height: u32, kind: &Kind) -> Result<Vec<u8>> {
    let channels = usize::from(colours.num_samples());
    match colours.bit_depth() {
        8 => Ok(raw),
        16 => {
            // The decoder returns them in native byte order.
            let values = raw
                .as_chunks::<2>()
                .0
                .iter()
                .map(|bytes| u16::from_ne_bytes(*bytes));
            let grey = matches!(colours, ColorType::Gray(_));
            Ok(values
                .map(|v| if grey { colour::clipped(v) } else { (v >> 8) as u8 })
                .collect())
        }
        bits @ (1 | 2 | 4) if channels == 1 => {
            let bits = u32::from(bits);
            let mut samples = buffers::take(bytes_of(width, height, 1));
            let packed_row = (width * bits).div_ceil(8) as usize;
            let rows = samples.chunks_mut(width as usize);
            for (packed, row) in raw.chunks(packed_row).zip(rows) {
                colour::unpack(packed, bits, row);
                // Grey values are scaled to the full range; palette indices aren't.
                if kind.photometric != INDEXED {
                    let step = 255 / ((1u32 << bits) - 1);
                    row.iter_mut()
                        .for_each(|sample| *sample = (u32::from(*sample) * step) as u8);
                }
            }
            buffers::keep(raw);
            Ok(samples)
        }
        bits => Err(unsupported(
            Format::Tiff,
            &format!("{bits} bits per sample and {channels} samples per pixel"),
        )),
    }
}

/// Converts planar to interleaved samples.
fn interleaved(planes: Vec<u8>, channels: usize) -> Vec<u8> {
    let count = planes.len() / channels.max(1);
    let mut samples = buffers::take(count * channels);
    for (channel, plane) in planes.chunks(count.max(1)).enumerate().take(channels) {
        let places = samples.iter_mut().skip(channel).step_by(channels);
        for (sample, value) in places.zip(plane) {
            *sample = *value;
        }
    }
    buffers::keep(planes);
    samples
}

/// Applies the palette, which stores all reds first, then the greens and the blues, with 16 bits
/// each.
fn indexed(samples: &[u8], channels: usize, head: &mut dyn Head, ifd: &Ifd) -> Result<Vec<u8>> {
    let missing = || damaged(Format::Tiff, "it has no palette");
    let entry = *ifd.find(PALETTE).ok_or_else(missing)?;
    let length = usize::try_from(entry.count)
        .unwrap_or(usize::MAX)
        .saturating_mul(2);
    let values = head.get(entry.at, length).ok_or_else(missing)?;
    let high: Vec<u8> = values
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&[first, second]| if ifd.little { second } else { first })
        .collect();
    let size = high.len() / 3;
    let value = |band: usize, index: u8| {
        let index = usize::from(index);
        let there = high.get(band * size + index).filter(|_| index < size);
        there.copied().unwrap_or(0)
    };
    let mut pixels = buffers::take(samples.len() / channels.max(1) * 3);
    let places = pixels.as_chunks_mut::<3>().0.iter_mut();
    for (pixel, sample) in places.zip(samples.chunks(channels.max(1))) {
        let index = sample.first().copied().unwrap_or_default();
        *pixel = [0, 1, 2].map(|band| value(band, index));
    }
    Ok(pixels)
}

fn rgb(mut samples: Vec<u8>, colours: ColorType, kind: &Kind) -> Result<Vec<u8>> {
    let channels = usize::from(colours.num_samples());
    let multiplied = kind.extra == 1;
    match colours {
        ColorType::Gray(bits) => {
            // Pillow never inverts 16-bit values.
            if kind.photometric == WHITE_IS_ZERO && bits <= 8 {
                samples.iter_mut().for_each(|sample| *sample = !*sample);
            }
            Ok(grey(samples, 1))
        }
        ColorType::GrayA(_) | ColorType::Multiband { num_samples: 2, .. }
            if kind.photometric <= u64::from(BLACK_IS_ZERO) =>
        {
            for pixel in samples.as_chunks_mut::<2>().0 {
                let [grey, alpha] = pixel;
                if kind.photometric == WHITE_IS_ZERO {
                    *grey = !*grey;
                }
                if multiplied {
                    *grey = colour::unmultiplied(*grey, *alpha);
                }
            }
            Ok(grey(samples, 2))
        }
        ColorType::RGB(_) => Ok(samples),
        ColorType::RGBA(_) => {
            if multiplied {
                for pixel in samples.as_chunks_mut::<4>().0 {
                    let [r, g, b, alpha] = pixel;
                    [r, g, b]
                        .into_iter()
                        .for_each(|v| *v = colour::unmultiplied(*v, *alpha));
                }
            }
            colour::first_three(&mut samples, channels);
            Ok(samples)
        }
        ColorType::YCbCr(_) => {
            colour::rgb_of_ycbcr(&mut samples, kind.chroma);
            Ok(samples)
        }
        ColorType::CMYK(_) => {
            colour::rgb_of_cmyk(&mut samples, false);
            Ok(samples)
        }
        other => Err(unsupported(Format::Tiff, &format!("its pixels are {other:?}"))),
    }
}

fn grey(samples: Vec<u8>, channels: usize) -> Vec<u8> {
    let mut pixels = buffers::take(samples.len() / channels * 3);
    colour::repeat_first(&samples, channels, &mut pixels);
    buffers::keep(samples);
    pixels
}

fn explained(error: TiffError) -> cvhost::error::Error {
    match error {
        TiffError::UnsupportedError(e) => unsupported(Format::Tiff, &e.to_string()),
        TiffError::LimitsExceeded => unsupported(
            Format::Tiff,
            &format!("a strip, tile or tag takes more than {} MB", MAX_CHUNK >> 20),
        ),
        other => damaged(Format::Tiff, &other.to_string()),
    }
}

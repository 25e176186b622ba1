//! JPEG: the header is read from the markers; the pixels are decoded by libjpeg-turbo, as in
//! Pillow.

use super::exif::Notes;
use super::format::Format;
use super::head::Head;
use super::header::Header;
use super::limits::{bytes_of, check_size, damaged, unsupported};
use super::{buffers, colour};
use cvhost::error::Result;
use turbojpeg::{Colorspace, Decompressor, PixelFormat, ScalingFactor};

/// Maximum number of scans of a progressive file. Cameras and editors write about ten; each costs a
/// pass over the whole image.
const MAX_SCANS: u32 = 500;
/// Maximum number of bytes outside of markers that are skipped before the frame header.
const MAX_STRAY: u64 = 64 << 10;

const EXIF: &[u8] = b"Exif\0\0";
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// The frame header.
struct Frame {
    width: u32,
    height: u32,
    components: u8,
    progressive: bool,
    /// Size of the coefficients of the whole image, in bytes.
    coefficients: u64,
}

/// Walks the markers up to the first scan.
pub fn header(head: &mut dyn Head) -> Result<Header> {
    let truncated = || damaged(Format::Jpeg, "it ends before its first scan");
    let (mut frame, mut notes) = (None, Notes::default());
    // EXIF takes precedence over XMP, regardless of their order.
    let mut xmp: Option<Vec<u8>> = None;
    let (mut at, mut stray) = (2, 0);
    loop {
        let (lead, marker) = (
            head.byte(at).ok_or_else(truncated)?,
            head.byte(at + 1).ok_or_else(truncated)?,
        );
        match (lead, marker) {
            (0xff, 0x01 | 0xd0..=0xd8) => at += 2,
            (0xff, 0xd9) => return Err(truncated()),
            (0xff, 0x02..=0xfe) => {
                let length = u64::from(head.be16(at + 2).ok_or_else(truncated)?);
                let (start, size) = (at + 4, length.saturating_sub(2) as usize);
                match marker {
                    0xda => {
                        let in_scan = head.byte(start).ok_or_else(truncated)?;
                        let frame = frame.ok_or_else(|| damaged(Format::Jpeg, "a scan before the frame"))?;
                        if let Some(text) = xmp {
                            notes.xmp(&text);
                        }
                        return finish(&frame, in_scan, &notes);
                    }
                    0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                        let body = head.get(start, size).ok_or_else(truncated)?;
                        frame = Some(read_frame(marker, body)?);
                    }
                    0xe1 => {
                        let body = head.get(start, size).ok_or_else(truncated)?;
                        if body.starts_with(EXIF) {
                            notes.exif(body);
                        } else if let Some(text) = body.strip_prefix(XMP) {
                            xmp = Some(text.to_vec());
                        }
                    }
                    _ => {}
                }
                at += 2 + length.max(2);
            }
            // Fill bytes, and stray bytes that some writers leave between markers.
            _ => {
                at += 1;
                stray += 1;
                if stray > MAX_STRAY {
                    return Err(damaged(Format::Jpeg, "no frame header in its first 64 KB"));
                }
            }
        }
    }
}

fn read_frame(marker: u8, body: &[u8]) -> Result<Frame> {
    let [precision, h1, h0, w1, w0, components, rest @ ..] = body else {
        return Err(damaged(Format::Jpeg, "its frame header is truncated"));
    };
    if *precision != 8 {
        return Err(unsupported(
            Format::Jpeg,
            &format!("{precision} bits per sample instead of 8"),
        ));
    }
    let (width, height) = (u16::from_be_bytes([*w1, *w0]), u16::from_be_bytes([*h1, *h0]));
    let (width, height) = (u32::from(width), u32::from(height));
    check_size(width, height)?;
    let sampling = || {
        let factors = rest.chunks_exact(3).take(usize::from(*components));
        factors.filter_map(|c| c.get(1)).map(|f| (f >> 4, f & 15))
    };
    let across = sampling().map(|(h, _)| h).max().unwrap_or(1).max(1);
    let down = sampling().map(|(_, v)| v).max().unwrap_or(1).max(1);
    let units = |side: u32, most: u8| u64::from(side.div_ceil(8 * u32::from(most)));
    let blocks: u64 = sampling().map(|(h, v)| u64::from(h) * u64::from(v)).sum();
    Ok(Frame {
        width,
        height,
        components: *components,
        progressive: matches!(marker, 0xc2 | 0xc6 | 0xca | 0xce),
        // 64 16-bit coefficients per block.
        coefficients: units(width, across) * units(height, down) * blocks * 128,
    })
}

fn finish(frame: &Frame, in_scan: u8, notes: &Notes) -> Result<Header> {
    let pixels = u64::from(frame.width) * u64::from(frame.height);
    let inks = if frame.components == 4 { pixels } else { 0 };
    // A frame with several scans is stored as coefficients until the last scan.
    let several = frame.progressive || in_scan < frame.components;
    Ok(Header {
        format: Format::Jpeg,
        width: frame.width,
        height: frame.height,
        orientation: notes.orientation(),
        extra_memory: inks + if several { frame.coefficients } else { 0 },
    })
}

/// Decodes to RGB pixels; returns them with their width and height, which are those stored, divided
/// by `shrink` (1, 2, 4 or 8) and rounded up.
pub fn decode(bytes: &[u8], header: &Header, shrink: u32) -> Result<(Vec<u8>, u32, u32)> {
    let bad = |e: turbojpeg::Error| damaged(Format::Jpeg, &message_of(&e));
    // A new decompressor for each image: it takes microseconds, and a reused one would keep its
    // tables, so that a file that lacks its own would be decoded to garbage.
    let mut decompressor = Decompressor::new().map_err(bad)?;
    decompressor.set_scan_limit(MAX_SCANS).map_err(bad)?;
    let about = decompressor.read_header(bytes).map_err(bad)?;
    if (about.width, about.height) != (header.width as usize, header.height as usize) {
        return Err(damaged(Format::Jpeg, "its headers contradict each other"));
    }
    // A lossless file has no coefficients to omit.
    let shrink = if about.is_lossless { 1 } else { shrink };
    let factor = ScalingFactor::new(1, shrink as usize);
    decompressor.set_scaling_factor(factor).map_err(bad)?;
    let inked = matches!(about.colorspace, Colorspace::CMYK | Colorspace::YCCK);
    let format = if inked {
        PixelFormat::CMYK
    } else {
        PixelFormat::RGB
    };
    let (width, height) = (header.width.div_ceil(shrink), header.height.div_ceil(shrink));

    let mut image = turbojpeg::Image {
        pixels: buffers::take(bytes_of(width, height, format.size())),
        width: width as usize,
        pitch: width as usize * format.size(),
        height: height as usize,
        format,
    };
    if let Err(error) = decompressor.decompress(bytes, image.as_deref_mut()) {
        let message = message_of(&error);
        // Only the first warning is reported, so truncation after a harmless one is detected by the
        // missing end marker.
        if !is_harmless(&message) || !has_end(bytes) {
            return Err(damaged(Format::Jpeg, &message));
        }
    }
    let mut pixels = image.pixels;
    if inked {
        colour::rgb_of_cmyk(&mut pixels, true);
    }
    Ok((pixels, width, height))
}

fn message_of(error: &turbojpeg::Error) -> String {
    match error {
        turbojpeg::Error::TurboJpegError(message) => message.clone(),
        other => other.to_string(),
    }
}

/// Whether libjpeg's warning doesn't affect any pixels; old cameras and editors cause some of
/// these.
pub fn is_harmless(message: &str) -> bool {
    let harmless = [
        "extraneous bytes before marker",
        "Invalid SOS parameters",
        "unknown JFIF revision",
        "Adobe color transform",
    ];
    harmless.iter().any(|h| message.contains(h))
}

/// Whether an end-of-image marker follows the last start-of-scan marker.
fn has_end(bytes: &[u8]) -> bool {
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    last(0xd9) > last(0xda)
}

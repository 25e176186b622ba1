//! GIF: the first frame, as Pillow shows it.

use super::buffers;
use super::format::Format;
use super::head::Head;
use super::header::Header;
use super::limits::{bytes_of, damaged};
use cvhost::error::Result;
use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

/// The size is that of the screen, extended to contain the first frame.
pub fn header(head: &mut dyn Head) -> Result<Header> {
    let truncated = || damaged(Format::Gif, "it ends before its first frame");
    let (width, height) = (
        head.le16(6).ok_or_else(truncated)?,
        head.le16(8).ok_or_else(truncated)?,
    );
    let flags = head.byte(10).ok_or_else(truncated)?;
    let mut at = 13 + palette_bytes(flags);
    loop {
        match head.byte(at).ok_or_else(truncated)? {
            b',' => {
                let mut edge = |offset, size| {
                    let (offset, size) = (head.le16(at + offset)?, head.le16(at + size)?);
                    Some(u32::from(offset) + u32::from(size))
                };
                let (right, bottom) = (
                    edge(1, 5).ok_or_else(truncated)?,
                    edge(3, 7).ok_or_else(truncated)?,
                );
                return Ok(Header {
                    format: Format::Gif,
                    width: right.max(u32::from(width)),
                    height: bottom.max(u32::from(height)),
                    orientation: 1,
                    // The frame's palette indices.
                    extra_memory: u64::from(right).saturating_mul(u64::from(bottom)),
                });
            }
            // An extension: its kind, followed by blocks up to an empty one.
            b'!' => {
                at += 2;
                loop {
                    let length = head.byte(at).ok_or_else(truncated)?;
                    at += 1 + u64::from(length);
                    if length == 0 {
                        break;
                    }
                }
            }
            b';' => return Err(damaged(Format::Gif, "it has no frame")),
            _ => at += 1,
        }
    }
}

/// Size in bytes of the palette announced by the flags of a screen or frame.
fn palette_bytes(flags: u8) -> u64 {
    if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    }
}

/// Decodes to RGB pixels. The area outside of the frame gets the transparent colour, or the
/// palette's first colour if none is transparent.
pub fn decode(bytes: &[u8], header: &Header) -> Result<Vec<u8>> {
    let bad = |e: DecodingError| damaged(Format::Gif, &e.to_string());
    let (width, height) = (header.width, header.height);
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    // The frame's size has been checked, and the limit would only apply to additional memory.
    options.set_memory_limit(MemoryLimit::Unlimited);
    let mut decoder = options.read_info(bytes).map_err(bad)?;
    let frame = decoder
        .next_frame_info()
        .map_err(bad)?
        .ok_or_else(|| damaged(Format::Gif, "it has no frame"))?;
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (across, down) = (usize::from(frame.width), usize::from(frame.height));
    let background = usize::from(frame.transparent.unwrap_or(0));
    if left + across > width as usize || top + down > height as usize {
        return Err(damaged(Format::Gif, "its headers contradict each other"));
    }
    let mut indices = buffers::take(across * down);
    decoder.read_into_buffer(&mut indices).map_err(bad)?;

    let palette = decoder.palette().map_err(bad)?.as_chunks::<3>().0;
    let colour = |index: usize| palette.get(index).copied().unwrap_or([0; 3]);
    let mut pixels = buffers::take(bytes_of(width, height, 3));
    let (screen, _) = pixels.as_chunks_mut::<3>();
    if (across, down) != (width as usize, height as usize) {
        screen.fill(colour(background));
    }
    let rows = screen.chunks_mut(width as usize).skip(top);
    for (row, indices) in rows.zip(indices.chunks(across.max(1))) {
        for (pixel, index) in row.iter_mut().skip(left).zip(indices) {
            *pixel = colour(usize::from(*index));
        }
    }
    buffers::keep(indices);
    Ok(pixels)
}

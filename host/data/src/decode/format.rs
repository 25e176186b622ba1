//! Detects an image's format from its first bytes.

use cvhost::error::{Error, Result};

/// The supported formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Jpeg,
    Png,
    Gif,
    Bmp,
    Tiff,
    WebP,
}

impl Format {
    /// The number of leading bytes that [`Format::of`] needs.
    pub const HEAD: usize = 64;

    /// Detects the format from the first bytes of a file, regardless of its name. Unknown formats
    /// are an `Input` error that says what the content seems to be.
    pub fn of(head: &[u8]) -> Result<Format> {
        let starts = |magic: &[u8]| head.starts_with(magic);
        let tagged = |at: usize, tag: &[u8]| head.get(at..at + tag.len()) == Some(tag);
        if starts(b"\xff\xd8\xff") {
            Ok(Format::Jpeg)
        } else if starts(b"\x89PNG\r\n\x1a\n") {
            Ok(Format::Png)
        } else if starts(b"GIF87a") || starts(b"GIF89a") {
            Ok(Format::Gif)
        } else if starts(b"II*\0") || starts(b"MM\0*") || starts(b"II+\0") || starts(b"MM\0+") {
            Ok(Format::Tiff)
        } else if starts(b"RIFF") && tagged(8, b"WEBP") {
            Ok(Format::WebP)
        } else if starts(b"BM") && tagged(6, &[0; 4]) {
            Ok(Format::Bmp)
        } else {
            Err(
                Error::input(format!("not an image: {}", likely_content(head))).with_expected(
                    "the content of a JPEG, PNG, BMP, GIF, TIFF or WebP file; its name doesn't matter",
                ),
            )
        }
    }

    /// The name used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Format::Jpeg => "JPEG",
            Format::Png => "PNG",
            Format::Gif => "GIF",
            Format::Bmp => "BMP",
            Format::Tiff => "TIFF",
            Format::WebP => "WebP",
        }
    }
}

/// Describes what a file that isn't a known image seems to be.
fn likely_content(head: &[u8]) -> String {
    let head = head.get(..Format::HEAD).unwrap_or(head);
    let text = String::from_utf8_lossy(head).trim_start().to_lowercase();
    if head.is_empty() {
        "the file is empty".to_owned()
    } else if head.get(4..8) == Some(b"ftyp") {
        "an AVIF, HEIC or video file; convert it to JPEG or PNG".to_owned()
    } else if text.starts_with("version https://git-lfs") {
        "a Git LFS pointer; fetch the real file with `git lfs pull`".to_owned()
    } else if text.starts_with("<!doctype html") || text.starts_with("<html") {
        "an HTML page, perhaps a server's response instead of the image".to_owned()
    } else if text.starts_with("<svg") || text.starts_with("<?xml") {
        "XML or SVG text".to_owned()
    } else if head
        .iter()
        .all(|&b| b >= 0x20 && b != 0x7f || b"\t\r\n".contains(&b))
    {
        "a text file".to_owned()
    } else {
        format!(
            "it starts with the bytes {:02x?}",
            head.get(..head.len().min(8)).unwrap_or_default()
        )
    }
}

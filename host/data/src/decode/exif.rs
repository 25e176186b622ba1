//! The EXIF orientation: cameras store the image as read from the sensor, with a tag that says how
//! to rotate it.
//!
//! Searched for as in Pillow's `getexif`: in the first IFD (image file directory) of the EXIF
//! block, and if that has no orientation, in the property `tiff:Orientation` of the XMP text.

use super::head::Head;

const ORIENTATION: u16 = 274;

/// One entry of a TIFF IFD.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub tag: u16,
    pub kind: u16,
    pub count: u64,
    /// Offset of its values in the file.
    pub at: u64,
}

/// The first IFD of a TIFF file or of an EXIF block, which has the same structure.
pub struct Ifd {
    pub little: bool,
    pub entries: Vec<Entry>,
}

impl Ifd {
    /// Entries outside of the file are omitted; `None` if there is no IFD at all.
    pub fn first(head: &mut dyn Head) -> Option<Ifd> {
        let magic: [u8; 4] = head.get(0, 4)?.try_into().ok()?;
        let (little, big) = match &magic {
            b"II*\0" => (true, false),
            b"MM\0*" => (false, false),
            b"II+\0" => (true, true),
            b"MM\0+" => (false, true),
            _ => return None,
        };
        let mut ifd = Ifd {
            little,
            entries: Vec::new(),
        };
        let start = if big {
            ifd.number(head, 8, 8)?
        } else {
            ifd.number(head, 4, 4)?
        };
        // BigTIFF uses 8 bytes where classic TIFF uses 4, and 8 instead of 2 for the number of
        // entries.
        let (wide, size) = if big { (8, 20) } else { (4, 12) };
        let count_bytes = if big { 8 } else { 2 };
        let count = ifd.number(head, start, count_bytes)?.min(u64::from(u16::MAX));
        let mut at = start.checked_add(count_bytes as u64)?;
        for _ in 0..count {
            let Some(entry) = ifd.entry(head, at, wide) else {
                break;
            };
            ifd.entries.push(entry);
            at += size;
        }
        Some(ifd)
    }

    fn entry(&self, head: &mut dyn Head, at: u64, wide: usize) -> Option<Entry> {
        let tag = self.number(head, at, 2)? as u16;
        let kind = self.number(head, at + 2, 2)? as u16;
        let count = self.number(head, at + 4, wide)?;
        let field = at + 4 + wide as u64;
        let inline = count.saturating_mul(size_of_kind(kind)) <= wide as u64;
        // The whole field must be present, even if the value doesn't fill it.
        let value_or_offset = self.number(head, field, wide)?;
        Some(Entry {
            tag,
            kind,
            count,
            at: if inline { field } else { value_or_offset },
        })
    }

    /// The first entry with this tag, as in Pillow.
    pub fn find(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    /// The first value of an entry of 16-bit or 32-bit integers, or of 64-bit ones in a BigTIFF.
    pub fn value(&self, head: &mut dyn Head, tag: u16) -> Option<u64> {
        let entry = *self.find(tag)?;
        match (entry.kind, entry.count) {
            (3 | 4 | 8 | 9 | 16, 1..) => self.number(head, entry.at, size_of_kind(entry.kind) as usize),
            _ => None,
        }
    }

    /// An integer of up to 8 bytes in the file's byte order.
    fn number(&self, head: &mut dyn Head, at: u64, length: usize) -> Option<u64> {
        let bytes = head.get(at, length)?;
        let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if self.little {
            bytes.iter().rev().fold(0, add)
        } else {
            bytes.iter().fold(0, add)
        })
    }
}

/// The size in bytes of one value of a TIFF field type.
fn size_of_kind(kind: u16) -> u64 {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 1,
    }
}

/// The orientation according to a file's metadata.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Notes {
    /// Whether an EXIF block has the tag, regardless of its value.
    in_exif: bool,
    orientation: Option<u8>,
}

impl Notes {
    /// Reads an EXIF block, with or without a leading `Exif` marker. A broken one is ignored.
    pub fn exif(&mut self, block: &[u8]) {
        let mut block = block;
        while let Some(rest) = block.strip_prefix(b"Exif\0\0") {
            block = rest;
        }
        let mut head: &[u8] = block;
        if let Some(ifd) = Ifd::first(&mut head) {
            self.ifd(&mut head, &ifd);
        }
    }

    pub fn ifd(&mut self, head: &mut dyn Head, ifd: &Ifd) {
        if ifd.find(ORIENTATION).is_some() {
            self.in_exif = true;
            self.orientation = ifd
                .value(head, ORIENTATION)
                .and_then(|value| u8::try_from(value).ok());
        }
    }

    /// Reads XMP text, which is used only if no EXIF block has the tag.
    pub fn xmp(&mut self, text: &[u8]) {
        const NAME: &[u8] = b"tiff:Orientation";
        if self.in_exif || self.orientation.is_some() {
            return;
        }
        let places = text.windows(NAME.len()).enumerate();
        self.orientation = places.filter(|(_, window)| *window == NAME).find_map(|(at, _)| {
            let rest = text.get(at + NAME.len()..)?;
            let value = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
            value.first().filter(|v| v.is_ascii_digit()).map(|v| v - b'0')
        });
    }

    /// The orientation, 1 to 8; 1 (unchanged) by default.
    pub fn orientation(&self) -> u8 {
        self.orientation
            .filter(|value| (1..=8).contains(value))
            .unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block whose IFD has these entries with one 16-bit value each.
    fn block(entries: &[(u16, u16, u16)]) -> Vec<u8> {
        let mut block = b"MM\0*\0\0\0\x08".to_vec();
        block.extend((entries.len() as u16).to_be_bytes());
        for (tag, kind, value) in entries {
            block.extend(tag.to_be_bytes());
            block.extend(kind.to_be_bytes());
            block.extend([0, 0, 0, 1]);
            block.extend(value.to_be_bytes());
            block.extend([0, 0]);
        }
        block
    }

    fn noted(exif: &[u8], xmp: &[u8]) -> u8 {
        let mut notes = Notes::default();
        notes.exif(exif);
        notes.xmp(xmp);
        notes.orientation()
    }

    #[test]
    fn the_exif_tag_takes_precedence_over_xmp() {
        let xmp = b"<rdf:Description xmlns:tiff='x' tiff:Orientation=\"3\"/>";
        assert_eq!(noted(&block(&[(274, 3, 6)]), xmp), 6);
        assert_eq!(noted(&block(&[(271, 3, 6)]), xmp), 3);
        assert_eq!(noted(b"", b"<tiff:Orientation>8</tiff:Orientation>"), 8);
        assert_eq!(noted(b"", b"tiff:Orientation='6'"), 1);
        // An invalid value overrides the XMP's, too.
        assert_eq!(noted(&block(&[(274, 3, 9)]), xmp), 1);
        // A value of type BYTE is ignored. The marker may be repeated.
        assert_eq!(noted(&block(&[(274, 1, 0x0600)]), b""), 1);
        assert_eq!(
            noted(
                &[b"Exif\0\0Exif\0\0", block(&[(274, 3, 5)]).as_slice()].concat(),
                b""
            ),
            5
        );
    }

    #[test]
    fn the_first_of_two_tags_is_used_and_a_truncated_ifd_retains_its_entries() {
        assert_eq!(noted(&block(&[(274, 3, 6), (274, 3, 3)]), b""), 6);
        let mut truncated = block(&[(274, 3, 6), (271, 3, 1)]);
        truncated.truncate(truncated.len() - 6);
        assert_eq!(noted(&truncated, b""), 6);
        for length in 0..20 {
            assert_eq!(noted(&truncated[..length], b""), 1, "{length} bytes");
        }
    }
}

//! Reads parts of a file without reading all of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Maximum length of one read, in bytes. Headers are smaller, except for embedded profiles and
/// previews.
const MAX_READ: usize = 4 << 20;

/// Random access to the bytes of an image file.
pub trait Head {
    /// `length` bytes at offset `at`; `None` past the end of the file, or for more than 4 MB.
    fn get(&mut self, at: u64, length: usize) -> Option<&[u8]>;

    /// The first `length` bytes, or all of them if there are fewer.
    fn start(&mut self, length: usize) -> &[u8];

    fn byte(&mut self, at: u64) -> Option<u8> {
        self.get(at, 1)?.first().copied()
    }

    /// A big-endian 16-bit integer.
    fn be16(&mut self, at: u64) -> Option<u16> {
        Some(u16::from_be_bytes(self.get(at, 2)?.try_into().ok()?))
    }

    /// A big-endian 32-bit integer.
    fn be32(&mut self, at: u64) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(at, 4)?.try_into().ok()?))
    }

    /// A little-endian 16-bit integer.
    fn le16(&mut self, at: u64) -> Option<u16> {
        Some(u16::from_le_bytes(self.get(at, 2)?.try_into().ok()?))
    }

    /// A little-endian 32-bit integer.
    fn le32(&mut self, at: u64) -> Option<u32> {
        Some(u32::from_le_bytes(self.get(at, 4)?.try_into().ok()?))
    }
}

impl Head for &[u8] {
    fn get(&mut self, at: u64, length: usize) -> Option<&[u8]> {
        let at = usize::try_from(at).ok()?;
        if length > MAX_READ {
            return None;
        }
        <[u8]>::get(self, at..at.checked_add(length)?)
    }

    fn start(&mut self, length: usize) -> &[u8] {
        <[u8]>::get(self, ..length).unwrap_or(self)
    }
}

/// A file with a window in memory: first its first 64 KB, later smaller windows on demand.
pub struct FileHead {
    file: File,
    length: u64,
    /// Offset of the window in the file.
    at: u64,
    window: Vec<u8>,
    error: Option<io::Error>,
}

impl FileHead {
    const FIRST: usize = 64 << 10;
    const LATER: usize = 4 << 10;

    pub fn new(file: File, length: u64) -> io::Result<Self> {
        let mut head = FileHead {
            file,
            length,
            at: 0,
            window: Vec::new(),
            error: None,
        };
        head.read(0, Self::FIRST)?;
        Ok(head)
    }

    /// Returns the error if any read has failed; a failed read returned nothing.
    pub fn finish(self) -> io::Result<()> {
        self.error.map_or(Ok(()), Err)
    }

    fn read(&mut self, at: u64, length: usize) -> io::Result<()> {
        let available = self.length.saturating_sub(at).min(length as u64) as usize;
        self.at = at;
        self.window.clear();
        self.window.resize(available, 0);
        self.file.read_exact_at(&mut self.window, at)
    }
}

impl Head for FileHead {
    fn get(&mut self, at: u64, length: usize) -> Option<&[u8]> {
        if length > MAX_READ || at.checked_add(length as u64)? > self.length {
            return None;
        }
        let seen = self.at..self.at + self.window.len() as u64;
        let unseen = at < seen.start || at + length as u64 > seen.end;
        if unseen && let Err(error) = self.read(at, length.max(Self::LATER)) {
            self.window.clear();
            self.error = Some(error);
        }
        let from = usize::try_from(at - self.at).ok()?;
        self.window.get(from..from + length)
    }

    fn start(&mut self, length: usize) -> &[u8] {
        let available = self.length.min(length as u64) as usize;
        self.get(0, available).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_reads_the_same_as_its_bytes() {
        let bytes: Vec<u8> = (0..200_000u32).map(|i| (i * 7 % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let mut head = FileHead::new(file, bytes.len() as u64).unwrap();
        let mut slice = bytes.as_slice();
        for (at, length) in [
            (0, 8),
            (65_530, 20),
            (3, 5),
            (199_999, 1),
            (199_999, 2),
            (0, 200_000),
            (9, 0),
            (u64::MAX, 4),
        ] {
            assert_eq!(
                head.get(at, length),
                Head::get(&mut slice, at, length),
                "{at} {length}"
            );
        }
        assert_eq!(head.start(64), slice.start(64));
        head.finish().unwrap();
    }
}

//! A look at parts of a file, without reading all of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The most that one look shows, in bytes. What headers hold is smaller; only embedded profiles and previews aren't.
const MAX_LOOK: usize = 4 << 20;

/// Bytes at any place of an image file.
pub trait Head {
    /// `length` bytes from offset `at`; `None` where the file ends before, or for more than 4 MB.
    fn get(&mut self, at: u64, length: usize) -> Option<&[u8]>;

    /// As many of the first bytes as there are, up to `length`.
    fn start(&mut self, length: usize) -> &[u8];

    fn byte(&mut self, at: u64) -> Option<u8> {
        self.get(at, 1)?.first().copied()
    }

    /// A big-endian number of 2 bytes.
    fn be16(&mut self, at: u64) -> Option<u16> {
        Some(u16::from_be_bytes(self.get(at, 2)?.try_into().ok()?))
    }

    /// A big-endian number of 4 bytes.
    fn be32(&mut self, at: u64) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(at, 4)?.try_into().ok()?))
    }

    /// A little-endian number of 2 bytes.
    fn le16(&mut self, at: u64) -> Option<u16> {
        Some(u16::from_le_bytes(self.get(at, 2)?.try_into().ok()?))
    }

    /// A little-endian number of 4 bytes.
    fn le32(&mut self, at: u64) -> Option<u32> {
        Some(u32::from_le_bytes(self.get(at, 4)?.try_into().ok()?))
    }
}

impl Head for &[u8] {
    fn get(&mut self, at: u64, length: usize) -> Option<&[u8]> {
        let at = usize::try_from(at).ok()?;
        if length > MAX_LOOK {
            return None;
        }
        <[u8]>::get(self, at..at.checked_add(length)?)
    }

    fn start(&mut self, length: usize) -> &[u8] {
        <[u8]>::get(self, ..length).unwrap_or(self)
    }
}

/// A file of which a window is in memory: its first 64 KB, later smaller ones where they are asked for.
pub struct FileHead {
    file: File,
    length: u64,
    /// Where the window starts.
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

    /// Whether reading failed on the way; a look that failed has shown nothing.
    pub fn finish(self) -> io::Result<()> {
        self.error.map_or(Ok(()), Err)
    }

    fn read(&mut self, at: u64, length: usize) -> io::Result<()> {
        let there = self.length.saturating_sub(at).min(length as u64) as usize;
        self.at = at;
        self.window.clear();
        self.window.resize(there, 0);
        self.file.read_exact_at(&mut self.window, at)
    }
}

impl Head for FileHead {
    fn get(&mut self, at: u64, length: usize) -> Option<&[u8]> {
        if length > MAX_LOOK || at.checked_add(length as u64)? > self.length {
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
        let there = self.length.min(length as u64) as usize;
        self.get(0, there).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_shows_the_same_as_its_bytes() {
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

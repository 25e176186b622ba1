//! Reads small files completely, with a size limit, so that no input can exhaust the machine's
//! memory.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Reads a regular file of at most `max_bytes` bytes. The error doesn't contain the file's name.
pub fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>, String> {
    // Opening a pipe would block until it has a writer.
    let kind = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if !kind.is_file() {
        return Err("is not a file".to_owned());
    }
    let file = File::open(path).map_err(|e| e.to_string())?;
    let mut bytes = Vec::with_capacity(kind.len().min(max_bytes) as usize);
    let count = file
        .take(max_bytes + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| e.to_string())?;
    if count as u64 > max_bytes {
        let mib = max_bytes >> 20;
        return Err(format!("is larger than {mib} MiB, the limit for such a file"));
    }
    Ok(bytes)
}

/// The text without a byte order mark. `Err` gives the encoding or the line of the first invalid
/// byte.
pub fn utf8(bytes: &[u8]) -> Result<&str, String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("is UTF-16; save it as UTF-8".to_owned());
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|e| {
        let before = bytes.get(..e.valid_up_to()).unwrap_or_default();
        format!("line {}: not UTF-8", line_of(before))
    })
}

/// The number of the line, from 1, that follows these bytes.
pub fn line_of(before: &[u8]) -> usize {
    before.iter().filter(|b| **b == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, vec![b'x'; 2 << 20]).unwrap();
        assert_eq!(read(&path, 2 << 20).unwrap().len(), 2 << 20);
        assert!(read(&path, 1 << 20).unwrap_err().contains("larger than 1 MiB"));
        assert_eq!(read(folder.path(), 1).unwrap_err(), "is not a file");
        assert!(read(&folder.path().join("gone"), 1).is_err());
    }

    #[test]
    fn invalid_utf8_is_reported_with_its_line() {
        assert_eq!(utf8(b"\xef\xbb\xbfa"), Ok("a"));
        assert_eq!(utf8(b"a\nb\xffc"), Err("line 2: not UTF-8".to_owned()));
        assert!(utf8(b"\xff\xfea\0").unwrap_err().contains("UTF-16"));
    }
}

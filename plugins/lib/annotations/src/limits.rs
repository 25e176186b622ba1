//! Reads small files whole, with a limit, so that no file a user has can take the memory of the machine.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The content of an ordinary file of up to `most` bytes. The error says what is wrong with it, without its name.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    // Opening a pipe would wait for its writer.
    let kind = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if !kind.is_file() {
        return Err("is not a file".to_owned());
    }
    let file = File::open(path).map_err(|e| e.to_string())?;
    let mut bytes = Vec::with_capacity(kind.len().min(most) as usize);
    let count = file
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| e.to_string())?;
    if count as u64 > most {
        let mib = most >> 20;
        return Err(format!("is larger than {mib} MiB, which no such file is"));
    }
    Ok(bytes)
}

/// The text without the mark that some editors put before UTF-8. `Err` says what it is instead.
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

/// The line, from 1, that comes after these bytes.
pub fn line_of(before: &[u8]) -> usize {
    before.iter().filter(|b| **b == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ordinary_files_within_the_limit_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, vec![b'x'; 2 << 20]).unwrap();
        assert_eq!(read(&path, 2 << 20).unwrap().len(), 2 << 20);
        assert!(read(&path, 1 << 20).unwrap_err().contains("larger than 1 MiB"));
        assert_eq!(read(folder.path(), 1).unwrap_err(), "is not a file");
        assert!(read(&folder.path().join("gone"), 1).is_err());
    }

    #[test]
    fn text_that_is_not_utf8_says_where() {
        assert_eq!(utf8(b"\xef\xbb\xbfa"), Ok("a"));
        assert_eq!(utf8(b"a\nb\xffc"), Err("line 2: not UTF-8".to_owned()));
        assert!(utf8(b"\xff\xfea\0").unwrap_err().contains("UTF-16"));
    }
}

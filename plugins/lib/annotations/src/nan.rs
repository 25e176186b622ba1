//! Python writes NaN and infinities into JSON as bare words. They are replaced by `null` here, so
//! that a file with one broken box can still be read and the error can name the box. A byte order
//! mark is skipped as well.

use std::io::{self, Cursor, Read};

/// Converts JSON into what serde_json accepts: without NaN, infinities and a byte order mark.
///
/// # Errors
/// The input is UTF-16, or the reader fails.
pub fn plain_json<R: Read>(mut reader: R) -> io::Result<impl Read> {
    let mut begin = Vec::with_capacity(3);
    reader.by_ref().take(3).read_to_end(&mut begin)?;
    if begin.starts_with(&[0xff, 0xfe]) || begin.starts_with(&[0xfe, 0xff]) {
        let what = "the file is UTF-16; save it as UTF-8";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    if begin == b"\xef\xbb\xbf" {
        begin.clear();
    }
    Ok(NanAsNull::new(Cursor::new(begin).chain(reader)))
}

const CHUNK: usize = 64 * 1024;

/// Copies JSON, replacing `NaN`, `Infinity` and `-Infinity` outside of strings by `null`.
struct NanAsNull<R> {
    inner: R,
    chunk: Vec<u8>,
    out: Vec<u8>,
    taken: usize,
    in_string: bool,
    escaped: bool,
    /// Inside a word that was replaced.
    swallowing: bool,
    /// After a minus sign whose number hasn't started.
    minus: bool,
    ended: bool,
}

impl<R: Read> NanAsNull<R> {
    fn new(inner: R) -> Self {
        NanAsNull {
            inner,
            chunk: vec![0; CHUNK],
            out: Vec::with_capacity(CHUNK + 8),
            taken: 0,
            in_string: false,
            escaped: false,
            swallowing: false,
            minus: false,
            ended: false,
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.out.clear();
        self.taken = 0;
        let mut chunk = std::mem::take(&mut self.chunk);
        let count = self.inner.read(&mut chunk);
        if let Ok(count) = count {
            let mut rest = chunk.get(..count).unwrap_or_default();
            while let Some((&byte, after)) = rest.split_first() {
                let plain = self.plain(rest);
                match rest.split_at_checked(plain) {
                    Some((plain, others)) if !plain.is_empty() => {
                        self.out.extend_from_slice(plain);
                        rest = others;
                    }
                    _ => {
                        self.push(byte);
                        rest = after;
                    }
                }
            }
            if count == 0 {
                self.ended = true;
                if std::mem::take(&mut self.minus) {
                    self.out.push(b'-');
                }
            }
        }
        self.chunk = chunk;
        count.map(|_| ())
    }

    /// The number of leading bytes that are copied unchanged and don't affect the state.
    fn plain(&self, bytes: &[u8]) -> usize {
        let next = |special: fn(u8) -> bool| bytes.iter().position(|b| special(*b)).unwrap_or(bytes.len());
        if self.escaped || self.swallowing || self.minus {
            0
        } else if self.in_string {
            next(|b| matches!(b, b'"' | b'\\'))
        } else {
            next(|b| matches!(b, b'"' | b'N' | b'I' | b'-'))
        }
    }

    fn push(&mut self, byte: u8) {
        if self.in_string {
            self.out.push(byte);
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        if self.swallowing && byte.is_ascii_alphabetic() {
            return;
        }
        self.swallowing = false;
        let minus = std::mem::take(&mut self.minus);
        if matches!(byte, b'N' | b'I') {
            self.out.extend_from_slice(b"null");
            self.swallowing = true;
            return;
        }
        if minus {
            self.out.push(b'-');
        }
        if byte == b'-' {
            self.minus = true;
            return;
        }
        self.in_string = byte == b'"';
        self.out.push(byte);
    }
}

impl<R: Read> Read for NanAsNull<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.out.len() && !self.ended {
            self.refill()?;
        }
        let rest = self.out.get(self.taken..).unwrap_or(&[]);
        let count = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads in chunks of one byte, so that every token is split.
    fn through(text: &str) -> String {
        struct Bytewise<'a>(&'a [u8]);
        impl Read for Bytewise<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.read(&mut buffer[..1])
            }
        }
        let mut out = String::new();
        NanAsNull::new(Bytewise(text.as_bytes()))
            .read_to_string(&mut out)
            .unwrap();
        let mut whole = String::new();
        NanAsNull::new(text.as_bytes())
            .read_to_string(&mut whole)
            .unwrap();
        assert_eq!(out, whole);
        out
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_utf16_is_reported() {
        let cases: [(&[u8], &[u8]); 4] = [
            (b"\xef\xbb\xbf{}", b"{}"),
            (b"[1", b"[1"),
            (b"", b""),
            (b"\xef\xbb", b"\xef\xbb"),
        ];
        for (bytes, expected) in cases {
            let mut out = Vec::new();
            plain_json(bytes).unwrap().read_to_end(&mut out).unwrap();
            assert_eq!(out, expected);
        }
        let error = plain_json(&b"\xff\xfe{\0"[..]).err().unwrap();
        assert!(error.to_string().contains("UTF-16"));
    }

    #[test]
    fn words_for_nan_become_null_and_nothing_else_changes() {
        assert_eq!(
            through("[NaN, -Infinity,Infinity, -1e-5]"),
            "[null, null,null, -1e-5]"
        );
        let same = r#"{"a NaN \" Infinity": "\\", "b": [-1, null, true], "-I": "N"}"#;
        assert_eq!(through(same), same);
        assert_eq!(through("-"), "-");
        assert_eq!(through(""), "");
    }
}

//! The bytes of a plugin's ELF note, put together at compile time by [`export_plugin!`](crate::export_plugin).

/// A part of the note's JSON.
#[derive(Clone, Copy)]
pub enum Piece {
    /// JSON as it stands.
    Raw(&'static str),
    /// A string value: quoted and escaped.
    Text(&'static str),
    /// A comma, unless it would follow an opening bracket.
    Comma,
}

/// An ELF note: the header, the owner's name, the JSON, zeros up to a multiple of four.
#[repr(C, align(4))]
pub struct NoteBytes<const N: usize> {
    name_size: u32,
    content_size: u32,
    kind: u32,
    name: [u8; 8],
    content: [u8; N],
}

/// The length of the JSON.
pub const fn length(pieces: &[Piece]) -> usize {
    write::<0>(pieces).1
}

/// `length` rounded up to the alignment of notes.
pub const fn padded(length: usize) -> usize {
    length.div_ceil(4) * 4
}

impl<const N: usize> NoteBytes<N> {
    pub const fn new(pieces: &[Piece], length: usize) -> Self {
        NoteBytes {
            name_size: 7,
            content_size: length as u32,
            kind: crate::note::TYPE,
            name: *b"cvhost\0\0",
            content: write::<N>(pieces).0,
        }
    }
}

/// Writes the pieces into `N` bytes; what doesn't fit is counted only.
const fn write<const N: usize>(pieces: &[Piece]) -> ([u8; N], usize) {
    let mut out = Out {
        bytes: [0; N],
        length: 0,
        last: 0,
    };
    let mut i = 0;
    while i < pieces.len() {
        out = match pieces[i] {
            Piece::Raw(text) => out.raw(text.as_bytes()),
            Piece::Text(text) => out.push(b'"').escaped(text.as_bytes()).push(b'"'),
            Piece::Comma if out.last == b'[' => out,
            Piece::Comma => out.push(b','),
        };
        i += 1;
    }
    (out.bytes, out.length)
}

#[derive(Clone, Copy)]
struct Out<const N: usize> {
    bytes: [u8; N],
    length: usize,
    last: u8,
}

impl<const N: usize> Out<N> {
    const fn push(mut self, byte: u8) -> Self {
        if self.length < N {
            self.bytes[self.length] = byte;
        }
        self.length += 1;
        self.last = byte;
        self
    }

    const fn raw(mut self, text: &[u8]) -> Self {
        let mut i = 0;
        while i < text.len() {
            self = self.push(text[i]);
            i += 1;
        }
        self
    }

    const fn escaped(mut self, text: &[u8]) -> Self {
        let mut i = 0;
        while i < text.len() {
            self = match text[i] {
                b'"' | b'\\' => self.push(b'\\').push(text[i]),
                0..0x20 => self.push(b' '),
                byte => self.push(byte),
            };
            i += 1;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_valid_json() {
        const PIECES: &[Piece] = &[
            Piece::Raw("{\"a\":"),
            Piece::Text("say \"hi\"\\ é\n"),
            Piece::Raw(",\"b\":["),
            Piece::Comma,
            Piece::Raw("1"),
            Piece::Comma,
            Piece::Raw("2]}"),
        ];
        const LENGTH: usize = length(PIECES);
        let note = NoteBytes::<{ padded(LENGTH) }>::new(PIECES, LENGTH);
        let value: serde_json::Value = serde_json::from_slice(&note.content[..LENGTH]).unwrap();
        assert_eq!(value, serde_json::json!({"a": "say \"hi\"\\ é ", "b": [1, 2]}));
        assert_eq!(note.content.len() % 4, 0);
    }
}

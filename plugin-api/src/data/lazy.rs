//! Fields that the host reads and decodes on its worker threads, so that opening a record is cheap.

use super::containers::{List, Text};
use abi_stable::StableAbi;
use std::fmt;

/// How the content of a [`FieldSource`] becomes an array.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq)]
pub struct FieldDecoder(pub u32);

impl FieldDecoder {
    /// A greyscale or palette PNG as a map `[H, W]` of i64: grey values or palette indices as stored.
    pub const LABEL_MAP: Self = Self(1);
    /// A PNG as one mask `[1, H, W]` of u8: 1 where the stored grey value or palette index is not 0.
    pub const MASK: Self = Self(2);
    /// COCO's compressed run lengths (ASCII) as one mask `[1, H, W]` of u8; the size is in `extra`:
    /// `{"size": [H, W]}`.
    pub const RUN_LENGTHS: Self = Self(3);
    /// A greyscale PNG or TIFF of 8, 16 or 32 bits as a map `[H, W]` of f32: the stored values times
    /// `scale` of `extra`, 1 where it is absent. Stored zeros become the field's fill.
    pub const DEPTH: Self = Self(4);
    /// A colour PNG as a map `[H, W]` of i64: red + 256 green + 65536 blue, as COCO's panoptic
    /// annotations number their segments.
    pub const RGB_IDS: Self = Self(5);
}

impl fmt::Debug for FieldDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::LABEL_MAP => "label map",
            Self::MASK => "mask",
            Self::RUN_LENGTHS => "run lengths",
            Self::DEPTH => "depth",
            Self::RGB_IDS => "RGB ids",
            Self(other) => return write!(f, "decoder {other}"),
        })
    }
}

/// Where the array of a field is, and how to decode it.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq)]
pub struct FieldSource {
    /// A file, or empty.
    pub path: Text,
    /// Encoded bytes, or empty.
    pub bytes: List<u8>,
    pub decoder: FieldDecoder,
    /// Parameters of the decoder, as JSON text; empty for none.
    pub extra: Text,
}

impl FieldSource {
    /// The content of a file.
    pub fn file(path: impl Into<String>, decoder: FieldDecoder) -> Self {
        FieldSource {
            path: path.into().into(),
            bytes: List::new(),
            decoder,
            extra: Text::new(),
        }
    }

    /// Encoded content in memory.
    pub fn encoded(bytes: Vec<u8>, decoder: FieldDecoder) -> Self {
        FieldSource {
            path: Text::new(),
            bytes: bytes.into(),
            decoder,
            extra: Text::new(),
        }
    }

    /// This source with parameters of its decoder.
    #[must_use]
    pub fn with_extra(mut self, extra: &serde_json::Value) -> Self {
        self.extra = extra.to_string().into();
        self
    }
}

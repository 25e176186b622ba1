//! Named arrays with roles.

use super::array::Array;
use super::containers::{List, Optional, Text};
use super::lazy::FieldSource;
use crate::error::{PluginError, Result};
use abi_stable::StableAbi;
use std::fmt;

/// What an array means geometrically. The host transforms by role alone.
///
/// Two bits of the number tell a host what to do with a role that it doesn't know: whether the array
/// has a row per instance, and whether it moves with the image's geometry. A host refuses an unknown
/// role that moves, instead of leaving it behind.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq)]
pub struct Role(pub u32);

const PER_INSTANCE: u32 = 1 << 16;
const MOVES: u32 = 1 << 17;

impl Role {
    /// `[N, 4]` floats, xyxy in pixels of the image.
    pub const BOXES: Self = Self(1 | PER_INSTANCE | MOVES);
    /// `[M, 4]` floats: rows of (instance, ring, x, y) in pixels; rings are implicitly closed.
    pub const POLYGONS: Self = Self(2 | MOVES);
    /// `[N, H, W]` u8, 0 or 1, in the image's size.
    pub const MASKS: Self = Self(3 | PER_INSTANCE | MOVES);
    /// `[N, K, 3]` floats: x, y in pixels, visibility; [`Field::mirror`] pairs left and right.
    pub const KEYPOINTS: Self = Self(4 | PER_INSTANCE | MOVES);
    /// `[H, W]` integers, a class or a segment per pixel; [`Field::fill`] is the value of "none".
    pub const LABEL_MAP: Self = Self(5 | MOVES);
    /// `[H, W]` floats, a measurement per pixel; [`Field::fill`] is the value of "not measured".
    pub const DENSE_MAP: Self = Self(6 | MOVES);
    /// `[N, …]`, a value per instance; follows the instances when some are dropped.
    pub const COLUMN: Self = Self(7 | PER_INSTANCE);
    /// `[C]` floats, a distribution over classes for the whole image; mixed when images are mixed.
    pub const DISTRIBUTION: Self = Self(8);
    /// UTF-8 bytes.
    pub const TEXT: Self = Self(9);
    /// Not touched by the host.
    pub const OPAQUE: Self = Self(10);
    /// `[N, L]` u8, a text per instance: UTF-8, padded with zeros. See [`Array::texts`].
    pub const TEXTS: Self = Self(11 | PER_INSTANCE);
    /// `[N, L]` u8, a mask per instance as COCO's compressed run lengths (ASCII, column-major),
    /// padded with zeros. The masks' height and width are in [`Field::extra`]; see
    /// [`Field::run_lengths`].
    pub const RUN_LENGTHS: Self = Self(12 | PER_INSTANCE | MOVES);

    /// Whether dimension 0 counts instances.
    pub const fn per_instance(self) -> bool {
        self.0 & PER_INSTANCE != 0
    }

    /// Whether the array has coordinates or pixels of the image, so that it must be transformed
    /// together with it.
    pub const fn moves(self) -> bool {
        self.0 & MOVES != 0
    }

    /// Whether rows are texts, padded to the longest.
    const fn has_padded_rows(self) -> bool {
        self.0 == Self::TEXTS.0 || self.0 == Self::RUN_LENGTHS.0
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::BOXES => "boxes",
            Self::POLYGONS => "polygons",
            Self::MASKS => "masks",
            Self::KEYPOINTS => "keypoints",
            Self::LABEL_MAP => "label map",
            Self::DENSE_MAP => "dense map",
            Self::COLUMN => "column",
            Self::DISTRIBUTION => "distribution",
            Self::TEXT => "text",
            Self::OPAQUE => "opaque",
            Self::TEXTS => "texts",
            Self::RUN_LENGTHS => "run lengths",
            Self(other) => return write!(f, "role {}", other & 0xffff),
        };
        f.write_str(name)
    }
}

/// One named array, or where the host reads it from.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq)]
pub struct Field {
    pub name: Text,
    pub role: Role,
    /// Empty where `source` is set.
    pub array: Array,
    /// For label maps and dense maps: the value of pixels that a change of geometry brings in from
    /// outside the image.
    pub fill: f64,
    /// For keypoints: the index of the keypoint that takes each one's place in a mirrored image, so
    /// that a left hand stays a left hand. K indices, or empty where none are swapped.
    pub mirror: List<u64>,
    /// A file or encoded bytes that the host decodes on its worker threads, in place of `array`.
    pub source: Optional<FieldSource>,
    /// More about the field, as JSON text; empty for none.
    pub extra: Text,
}

impl Field {
    /// A field with its role's usual fill: 255, which losses ignore, in a label map; 0 in a dense
    /// map.
    pub fn new(name: &str, role: Role, array: Array) -> Self {
        Field {
            name: name.into(),
            role,
            array,
            fill: if role == Role::LABEL_MAP { 255.0 } else { 0.0 },
            mirror: List::new(),
            source: Optional::none(),
            extra: Text::new(),
        }
    }

    /// A field that the host decodes on its worker threads when the record is loaded.
    pub fn lazy(name: &str, role: Role, source: FieldSource) -> Self {
        Field {
            source: Optional::some(source),
            ..Self::new(name, role, Array::vector::<u8>(&[]))
        }
    }

    /// Masks as COCO's compressed run lengths, of images of this height and width.
    pub fn run_lengths<T: AsRef<str>>(name: &str, [height, width]: [u64; 2], counts: &[T]) -> Self {
        Field {
            extra: serde_json::json!({"size": [height, width]}).to_string().into(),
            ..Self::new(name, Role::RUN_LENGTHS, Array::texts(counts))
        }
    }

    /// Height and width of the masks of a field with run lengths. Fails where the field doesn't say.
    pub fn mask_size(&self) -> Result<[u64; 2]> {
        let extra: serde_json::Value = serde_json::from_str(&self.extra).unwrap_or_default();
        let side = |at: usize| extra["size"][at].as_u64();
        match (side(0), side(1)) {
            (Some(height), Some(width)) => Ok([height, width]),
            _ => Err(PluginError::failed(format!(
                "field `{}` has run lengths without the size of its masks",
                self.name
            ))),
        }
    }

    /// This field with another [`Field::fill`].
    #[must_use]
    pub fn filled_with(mut self, fill: f64) -> Self {
        self.fill = fill;
        self
    }

    /// This field with its [`Field::mirror`] indices.
    #[must_use]
    pub fn mirrored_by(mut self, mirror: &[u64]) -> Self {
        self.mirror = mirror.to_vec().into();
        self
    }
}

/// Targets, predictions or prepared labels of one sample. Names, roles, types and units are fixed by
/// a versioned form; [`forms`](crate::forms) has the standard ones.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Fields {
    pub items: List<Field>,
}

impl Fields {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field of an array and returns the list.
    #[must_use]
    pub fn with(self, name: &str, role: Role, array: Array) -> Self {
        self.and(Field::new(name, role, array))
    }

    /// Adds a field and returns the list.
    #[must_use]
    pub fn and(mut self, field: Field) -> Self {
        self.items.push(field);
        self
    }

    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.items.iter().find(|f| f.name == name)
    }

    /// The array of that name.
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.field(name).map(|f| &f.array)
    }

    /// The array of that name. The error names what is there.
    pub fn require(&self, name: &str) -> Result<&Array> {
        self.get(name).ok_or_else(|| {
            let there: Vec<&str> = self.items.iter().map(|f| f.name.as_str()).collect();
            PluginError::failed(format!("field `{name}` is missing; there are {there:?}"))
        })
    }

    /// These fields followed by the instances of another list: fields per instance are concatenated
    /// row by row, all others are kept from the first.
    pub fn joined(&self, more: &Fields) -> Result<Fields> {
        let mut all = self.clone();
        for field in all.items.iter_mut().filter(|f| f.role.per_instance()) {
            let more = more.require(&field.name)?;
            field.array = if field.role.has_padded_rows() {
                Array::texts(&[field.array.as_texts()?, more.as_texts()?].concat())
            } else {
                field.array.joined(more)?
            };
        }
        Ok(all)
    }

    /// Replaces or adds a field.
    pub fn set(&mut self, name: &str, role: Role, array: Array) {
        match self.items.iter_mut().find(|f| f.name == name) {
            Some(field) => (field.role, field.array) = (role, array),
            None => self.items.push(Field::new(name, role, array)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_length_are_joined() {
        let texts = |t: &[&str]| Fields::new().with("words", Role::TEXTS, Array::texts(t));
        let joined = texts(&["Ä", ""]).joined(&texts(&["long one"])).unwrap();
        assert_eq!(
            joined.require("words").unwrap().as_texts().unwrap(),
            ["Ä", "", "long one"]
        );
        assert_eq!(joined.require("words").unwrap().dims(), [3, 8]);
        let none = texts(&[]).joined(&texts(&["a"])).unwrap();
        assert_eq!(none.require("words").unwrap().as_texts().unwrap(), ["a"]);
    }

    #[test]
    fn an_unknown_role_tells_whether_it_moves_and_has_instances() {
        let later = Role(99 | PER_INSTANCE | MOVES);
        assert!(later.per_instance() && later.moves());
        assert!(!Role(99).moves() && !Role::DISTRIBUTION.moves() && Role::POLYGONS.moves());
        let rows = |n: usize| Fields::new().with("later", later, Array::rows(&vec![[1.0f32; 2]; n]));
        let joined = rows(1).joined(&rows(2)).unwrap();
        assert_eq!(joined.require("later").unwrap().dims(), [3, 2]);
    }

    #[test]
    fn run_lengths_keep_their_size_and_are_joined() {
        let field = Field::run_lengths("masks", [480, 640], &["PPYo1", "0"]);
        assert_eq!(field.mask_size().unwrap(), [480, 640]);
        let both = Fields::new()
            .and(field.clone())
            .joined(&Fields::new().and(field))
            .unwrap();
        let joined = both.field("masks").unwrap();
        assert_eq!(joined.mask_size().unwrap(), [480, 640]);
        assert_eq!(joined.array.as_texts().unwrap(), ["PPYo1", "0", "PPYo1", "0"]);
        assert!(
            Field::new("x", Role::RUN_LENGTHS, Array::text(""))
                .mask_size()
                .is_err()
        );
    }

    #[test]
    fn arrays_that_hold_no_texts_are_an_error() {
        assert!(Array::text("a").as_texts().is_err());
        assert!(Array::new(&[1, 1], &[0xffu8]).unwrap().as_texts().is_err());
        assert!(Array::rows(&[[1.0f32]]).as_texts().is_err());
    }
}

//! Named arrays with roles.

use super::array::Array;
use crate::error::{PluginError, Result};
use abi_stable::StableAbi;
use abi_stable::std_types::{RString, RVec};
use std::fmt;

/// What an array means geometrically. The host transforms by role alone.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq)]
pub struct Role(pub u32);

impl Role {
    /// `[N, 4]` floats, xyxy in pixels of the image.
    pub const BOXES: Self = Self(1);
    /// `[M, 4]` floats: rows of (instance, ring, x, y) in pixels, rings closed by themselves.
    pub const POLYGONS: Self = Self(2);
    /// `[N, H, W]` u8, 0 or 1, in the image's size.
    pub const MASKS: Self = Self(3);
    /// `[N, K, 3]` floats: x, y in pixels, visibility; [`Field::mirror`] says which are left and right of one another.
    pub const KEYPOINTS: Self = Self(4);
    /// `[H, W]` integers, a class or a segment a pixel; [`Field::fill`] says what "nothing" is.
    pub const LABEL_MAP: Self = Self(5);
    /// `[H, W]` floats, a measurement a pixel; [`Field::fill`] says what "not measured" is.
    pub const DENSE_MAP: Self = Self(6);
    /// `[N, …]`, a value an instance; follows the instances when some are dropped.
    pub const COLUMN: Self = Self(7);
    /// `[C]` floats, a distribution over classes for the whole image; two images mix by mixing it.
    pub const DISTRIBUTION: Self = Self(8);
    /// UTF-8 bytes.
    pub const TEXT: Self = Self(9);
    /// Not touched by the host.
    pub const OPAQUE: Self = Self(10);
    /// `[N, L]` u8, a text an instance: UTF-8, filled up with zeros. See [`Array::texts`].
    pub const TEXTS: Self = Self(11);

    /// Whether dimension 0 counts instances.
    pub fn per_instance(self) -> bool {
        matches!(
            self,
            Self::BOXES | Self::MASKS | Self::KEYPOINTS | Self::COLUMN | Self::TEXTS
        )
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
            Self(other) => return write!(f, "role {other}"),
        };
        f.write_str(name)
    }
}

/// One named array.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq)]
pub struct Field {
    pub name: RString,
    pub role: Role,
    pub array: Array,
    /// Of label maps and dense maps: what a pixel gets that a change of geometry brings in from outside the image.
    pub fill: f64,
    /// Of keypoints: the keypoint that takes each one's place in a mirror image, so that a left hand stays a left hand: K
    /// indices, or empty where none are swapped.
    pub mirror: RVec<u64>,
}

impl Field {
    /// A field with its role's usual fill: 255, which losses ignore, in a label map; 0 in a dense map.
    pub fn new(name: &str, role: Role, array: Array) -> Self {
        Field {
            name: name.into(),
            role,
            array,
            fill: if role == Role::LABEL_MAP { 255.0 } else { 0.0 },
            mirror: RVec::new(),
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

/// Targets, predictions or prepared labels of one sample. Task and adapter meet on the names, roles, types and units that a
/// versioned form fixes; the task that has the form writes them down.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Fields {
    pub items: RVec<Field>,
}

impl Fields {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field, and gives the list back.
    #[must_use]
    pub fn with(self, name: &str, role: Role, array: Array) -> Self {
        self.and(Field::new(name, role, array))
    }

    /// Adds a field with what its role leaves open, and gives the list back.
    #[must_use]
    pub fn and(mut self, field: Field) -> Self {
        self.items.push(field);
        self
    }

    pub fn get(&self, name: &str) -> Option<&Array> {
        self.items.iter().find(|f| f.name == name).map(|f| &f.array)
    }

    /// The array of that name. The error names what is there.
    pub fn require(&self, name: &str) -> Result<&Array> {
        self.get(name).ok_or_else(|| {
            let there: Vec<&str> = self.items.iter().map(|f| f.name.as_str()).collect();
            PluginError::failed(format!("field `{name}` is missing; there are {there:?}"))
        })
    }

    /// These fields with another list's instances behind their own: fields per instance are put together row by row, others
    /// are kept from the first.
    pub fn joined(&self, more: &Fields) -> Result<Fields> {
        let mut all = self.clone();
        for field in all.items.iter_mut().filter(|f| f.role.per_instance()) {
            let more = more.require(&field.name)?;
            field.array = if field.role == Role::TEXTS {
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
    fn what_is_no_texts_array_is_an_error() {
        assert!(Array::text("a").as_texts().is_err());
        assert!(Array::new(&[1, 1], &[0xffu8]).unwrap().as_texts().is_err());
        assert!(Array::rows(&[[1.0f32]]).as_texts().is_err());
    }
}

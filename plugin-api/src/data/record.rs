//! From annotation to model input: record, sample, prepared sample.

use super::array::{Array, DType};
use super::fields::Fields;
use super::image::{Image, ImageSource};
use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RString, RVec};

/// What a data set is opened with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OpenArgs {
    /// `train`, `val` or `test`.
    pub split: String,
    /// The folder of the split's images, as the configuration has it.
    pub images: String,
    /// The split's annotation file; empty where the configuration has none.
    pub annotations: String,
    /// The whole configuration.
    pub config: serde_json::Value,
    /// The class names of the checkpoint, in its order; empty where it has none. A data set whose classes are all among
    /// them should use its numbering, so that the head fits.
    pub checkpoint_classes: Vec<String>,
}

/// A part of an image that a record is about (top-down pose estimation), in pixels of the image.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq)]
pub struct Region {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
    /// Radians, around the centre, counter-clockwise.
    pub angle: f64,
}

/// One training or evaluation example as the annotations have it.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// How messages call it, such as `image 17 (cells/0017.jpg)`.
    pub name: RString,
    pub images: RVec<ImageSource>,
    pub region: ROption<Region>,
    /// Targets in pixels of the image.
    pub fields: Fields,
}

/// What is known of a record without opening its images.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct RecordMeta {
    /// As the annotations say, in pixels; 0 where they don't.
    pub width: u32,
    pub height: u32,
    /// The label of each of its instances, in any order and with repetitions, for balanced sampling and statistics; of a record
    /// that is classified as a whole, its classes. May be empty.
    pub classes: RVec<i64>,
}

/// How bad a problem is.
#[repr(transparent)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Severity(pub u32);

impl Severity {
    /// Told, and dealt with as the message says.
    pub const WARNING: Self = Self(1);
    /// The data set can't be used.
    pub const ERROR: Self = Self(2);
}

/// Something wrong in a data set's annotations.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq)]
pub struct Problem {
    pub severity: Severity,
    /// What is wrong, with ids.
    pub message: RString,
}

impl Problem {
    pub fn warning(message: impl Into<String>) -> Self {
        Problem {
            severity: Severity::WARNING,
            message: message.into().into(),
        }
    }

    pub fn error(message: impl Into<String>) -> Self {
        Problem {
            severity: Severity::ERROR,
            message: message.into().into(),
        }
    }
}

/// A split's annotations without what is wrong in them.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Repair {
    /// The file to write: a new name beside the annotations that were read, which stay as they are.
    pub path: RString,
    pub bytes: RVec<u8>,
    /// What was changed, a line each, with ids; empty where nothing was wrong.
    pub changes: RVec<RString>,
}

/// A record after decoding and augmentation.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// The record's index in its data set.
    pub index: u64,
    pub name: RString,
    pub images: RVec<Image>,
    pub region: ROption<Region>,
    /// Targets in pixels of the image as it is now.
    pub fields: Fields,
    /// Whether augmentations may change it further, and targets are wanted.
    pub train: bool,
}

/// The shape of a sample's main input tensor.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq)]
pub struct Shape {
    /// The tensor's name in the batch, such as `pixel_values`.
    pub name: RString,
    pub dtype: DType,
    /// Without the batch dimension: `[3, H, W]`.
    pub dims: RVec<u64>,
}

/// What an adapter's input side made of a sample, besides the main input that it wrote in place.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Prepared {
    /// Further named arrays for the batch, put together by the adapter's collate rules.
    pub fields: Fields,
    pub meta: Meta,
}

/// What `finish` needs to know of a sample to put predictions into original pixels.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Meta {
    /// The record's index in its data set.
    pub index: u64,
    /// The image's size before `prepare`, in pixels.
    pub width: u32,
    pub height: u32,
    /// The image's size inside the main input, without padding.
    pub input_width: u32,
    pub input_height: u32,
    pub region: ROption<Region>,
    /// More that the adapter wants back.
    pub extra: ROption<Array>,
}

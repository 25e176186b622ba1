//! From annotation to model input: record, sample, prepared sample.

use super::array::DType;
use super::containers::{List, Optional, Text};
use super::fields::Fields;
use super::image::{Image, ImageSource};
use abi_stable::StableAbi;
use serde_json::Value;

/// What a data set is opened with.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenArgs {
    /// `train`, `val` or `test`.
    pub split: String,
    /// The folder of the split's images, as configured.
    pub images: String,
    /// The split's annotation file; empty where none is configured.
    pub annotations: String,
    /// The whole configuration.
    pub config: Value,
    /// The class names of the checkpoint, in its order; empty where it has none. A data set whose
    /// classes are all among them should use its numbering, so that the head fits.
    pub checkpoint_classes: Vec<String>,
    /// This process among those that read the data set together: 0 to `world_size` - 1.
    pub rank: u64,
    /// How many processes read the data set together, at least 1. The host divides the records among
    /// them; a data set may prepare, such as by reading only its own files.
    pub world_size: u64,
    /// What a newer host says beyond this version; null for nothing.
    pub extra: Value,
}

impl Default for OpenArgs {
    /// No split, read by one process.
    fn default() -> Self {
        OpenArgs {
            split: String::new(),
            images: String::new(),
            annotations: String::new(),
            config: Value::Null,
            checkpoint_classes: Vec::new(),
            rank: 0,
            world_size: 1,
            extra: Value::Null,
        }
    }
}

/// Which record is asked for, and what its random choices depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordArgs {
    /// The record's index in its data set.
    pub index: u64,
    /// The epoch that the record is read in, from 0; 0 outside of training.
    pub epoch: u64,
    /// A number that depends on the run's seed, the epoch and the record alone. Random choices that
    /// follow it are the same whatever the number of workers or ranks, and after a resume.
    pub seed: u64,
}

impl RecordArgs {
    /// The record at `index`, as it is read outside of training.
    pub fn at(index: u64) -> Self {
        RecordArgs {
            index,
            ..Default::default()
        }
    }
}

/// A region of an image that a record is about (top-down pose estimation), in pixels of the image.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq)]
pub struct Region {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
    /// Radians around the centre, counter-clockwise.
    pub angle: f64,
}

/// One training or evaluation example as annotated.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Its name in messages, such as `image 17 (cells/0017.jpg)`.
    pub name: Text,
    pub images: List<ImageSource>,
    pub region: Optional<Region>,
    /// Targets in pixels of the image.
    pub fields: Fields,
    /// More about the record, as JSON text; empty for none.
    pub extra: Text,
}

/// What is known of a record without opening its images.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct RecordMeta {
    /// The image's size as annotated, in pixels; 0 where it isn't.
    pub width: u32,
    pub height: u32,
    /// The label of each instance, in any order and with repetitions, for balanced sampling and
    /// statistics; for a record that is classified as a whole, its classes. May be empty.
    pub classes: List<i64>,
    /// More about the record, as JSON text; empty for none.
    pub extra: Text,
}

/// How bad a problem is.
#[repr(transparent)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Severity(pub u32);

impl Severity {
    /// Reported, and handled as the message says.
    pub const WARNING: Self = Self(1);
    /// The data set can't be used.
    pub const ERROR: Self = Self(2);
}

/// A problem in a data set's annotations.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq)]
pub struct Problem {
    pub severity: Severity,
    /// What is wrong, with ids.
    pub message: Text,
    /// The index of the record that has the problem, if it is one record's.
    pub record: Optional<u64>,
    /// The file that has the problem; empty where it is no file's.
    pub file: Text,
    /// The line in that file, from 1; 0 where there is none.
    pub line: u64,
    /// A short name of the kind of problem for programs, such as `box-outside`; may be empty.
    pub code: Text,
    /// More about the problem, as JSON text; empty for none.
    pub extra: Text,
}

impl Problem {
    pub fn new(severity: Severity, message: impl Into<String>) -> Self {
        Problem {
            severity,
            message: message.into().into(),
            record: Optional::none(),
            file: Text::new(),
            line: 0,
            code: Text::new(),
            extra: Text::new(),
        }
    }

    pub fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::WARNING, message)
    }

    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::ERROR, message)
    }

    /// This problem with the file that has it, and the line from 1 (0 for none).
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>, line: u64) -> Self {
        self.file = file.into().into();
        self.line = line;
        self
    }

    /// This problem with the index of the record that has it.
    #[must_use]
    pub fn of_record(mut self, index: u64) -> Self {
        self.record = Optional::some(index);
        self
    }

    /// This problem with the short name of its kind.
    #[must_use]
    pub fn with_code(mut self, code: &str) -> Self {
        self.code = code.into();
        self
    }
}

/// A file that a repair writes.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct RepairedFile {
    /// A new name beside what was read, which stays unchanged.
    pub path: Text,
    pub bytes: List<u8>,
}

/// A split's annotations without what is wrong in them.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Repair {
    /// The files to write. The first one, or its folder where there are several, is what
    /// `data.<split>_annotation_file` can name afterwards.
    pub files: List<RepairedFile>,
    /// One line per change, with ids; empty where nothing was wrong.
    pub changes: List<Text>,
    /// More about the repair, as JSON text; empty for none.
    pub extra: Text,
}

impl Repair {
    /// A repair that writes one file.
    pub fn file<T: Into<Text>>(
        path: impl Into<String>,
        bytes: Vec<u8>,
        changes: impl IntoIterator<Item = T>,
    ) -> Self {
        Repair {
            files: vec![RepairedFile {
                path: path.into().into(),
                bytes: bytes.into(),
            }]
            .into(),
            changes: changes.into_iter().map(Into::into).collect(),
            extra: Text::new(),
        }
    }
}

/// A record after decoding and augmentation.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// The record's index in its data set.
    pub index: u64,
    pub name: Text,
    pub images: List<Image>,
    pub region: Optional<Region>,
    /// Targets in pixels of the image as it is now.
    pub fields: Fields,
    /// Whether the sample is for training, so that random changes are allowed and targets wanted.
    pub train: bool,
    /// A number that depends on the run's seed, the epoch and the record alone, for random choices
    /// of the adapter.
    pub seed: u64,
    /// More about the sample, as JSON text; empty for none.
    pub extra: Text,
}

/// The shape of a sample's main input tensor.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq)]
pub struct Shape {
    /// The tensor's name in the batch, such as `pixel_values`.
    pub name: Text,
    pub dtype: DType,
    /// Without the batch dimension: `[3, H, W]`.
    pub dims: List<u64>,
    /// More about the input, as JSON text; empty for none.
    pub extra: Text,
}

impl Shape {
    pub fn new(name: &str, dtype: DType, dims: &[u64]) -> Self {
        Shape {
            name: name.into(),
            dtype,
            dims: dims.to_vec().into(),
            extra: Text::new(),
        }
    }
}

/// The result of preparing a sample, besides the main input that is written in place.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Prepared {
    /// More named arrays for the batch, combined by the adapter's collate rules.
    pub fields: Fields,
    pub meta: Meta,
    /// More about the sample, as JSON text; empty for none.
    pub extra: Text,
}

/// What `finish` needs of a sample to convert predictions to original pixels.
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
    pub region: Optional<Region>,
    /// Named arrays that the adapter wants back.
    pub extra: Fields,
}

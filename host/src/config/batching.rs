//! Values of section `data` for sampling and batching.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Images in one forward pass: a number, or `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum BatchSize {
    Number(#[schemars(range(min = 1, max = 65536))] u32),
    Found(Found),
}

/// The word for a value that the run determines by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Found {
    Auto,
}

impl BatchSize {
    /// The batch size if none is given and none is searched for.
    pub const USUAL: u32 = 4;

    /// The number; `None` for `auto`.
    pub fn number(self) -> Option<u32> {
        match self {
            BatchSize::Number(number) => Some(number),
            BatchSize::Found(Found::Auto) => None,
        }
    }
}

/// How training images are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Each image once per epoch.
    #[default]
    Natural,
    /// Sampled at random so that each class is seen about equally often: the weight of an image is
    /// one over the number of images with its rarest class.
    ClassBalanced,
    /// Images with a class that occurs in less than a fraction `repeat_threshold` of the images are
    /// repeated within an epoch, as in LVIS.
    RepeatFactor,
}

/// How a last batch with fewer training images than the others is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LastBatch {
    #[default]
    Keep,
    Drop,
    /// Filled with the epoch's first images.
    Pad,
}

/// What happens when an image can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BrokenFiles {
    /// The run ends with an error naming the image.
    #[default]
    Error,
    /// Each is reported once. In training another image takes its place; in evaluation it is left
    /// out.
    Skip,
}

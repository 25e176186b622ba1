//! Values of section `data` about which images come, and what shares a batch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Images in one forward pass: a number, or `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum BatchSize {
    Number(#[schemars(range(min = 1, max = 65536))] u32),
    Found(Found),
}

/// What stands for a value that the run finds by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Found {
    Auto,
}

impl BatchSize {
    /// Where nobody says a number, and nobody looks for one.
    pub const USUAL: u32 = 4;

    /// The number; none for `auto`.
    pub fn number(self) -> Option<u32> {
        match self {
            BatchSize::Number(number) => Some(number),
            BatchSize::Found(Found::Auto) => None,
        }
    }
}

/// Which training images come more often than others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Each once an epoch.
    #[default]
    Natural,
    /// Drawn by chance, so that each class is seen about equally often: the weight of an image is one over the number of
    /// images with its rarest class.
    ClassBalanced,
    /// Images with a class that fewer than `repeat_threshold` of the images have come more than once an epoch, as in LVIS.
    RepeatFactor,
}

/// What becomes of a last batch that has fewer training images than the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LastBatch {
    #[default]
    RetentionPolicy,
    Drop,
    /// Filled up with the epoch's first images.
    Pad,
}

/// What happens when an image can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BrokenFiles {
    /// The run ends, and the message names it.
    #[default]
    Error,
    /// Each is told once. In training another image takes its place; an evaluation leaves it out.
    Skip,
}

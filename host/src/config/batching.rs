//! Values of section `data` about which pictures come, and what shares a batch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pictures in one forward pass: a number, or `auto`.
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

/// Which training pictures come more often than others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Each once an epoch.
    #[default]
    Natural,
    /// Drawn by chance, so that each class is seen about equally often: the weight of a picture is one over the number of
    /// pictures with its rarest class.
    ClassBalanced,
    /// Pictures with a class that fewer than `repeat_threshold` of the pictures have come more than once an epoch, as in LVIS.
    RepeatFactor,
}

/// What becomes of a last batch that has fewer training pictures than the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LastBatch {
    #[default]
    Keep,
    Drop,
    /// Filled up with the epoch's first pictures.
    Pad,
}

/// What happens when a picture can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BrokenFiles {
    /// The run ends, and the message names it.
    #[default]
    Error,
    /// Each is told once. In training another picture takes its place; an evaluation leaves it out.
    Skip,
}

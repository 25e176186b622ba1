//! The section `data.augmentations`: random augmentation of training images.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A probability from 0 to 1; `true` is 0.5 and `false` is 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Probability {
    Switch(bool),
    Chance(#[schemars(range(min = 0.0, max = 1.0))] f64),
}

impl Probability {
    /// From 0 to 1.
    pub fn value(self) -> f64 {
        match self {
            Probability::Switch(on) => {
                if on {
                    0.5
                } else {
                    0.0
                }
            }
            Probability::Chance(p) => p,
        }
    }
}

impl Default for Probability {
    fn default() -> Self {
        Probability::Chance(0.0)
    }
}

/// Random resizing of images, given as a pair `[low, high]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RandomResize {
    /// A factor on the model's input size.
    Factor(f64, f64),
    /// Length of the shortest edge, in pixels.
    ShortestEdge(f64, f64),
}

impl RandomResize {
    /// Pairs up to 10 are factors, larger ones pixels.
    pub fn from_pair([low, high]: [f64; 2]) -> Self {
        if high <= 10.0 {
            RandomResize::Factor(low, high)
        } else {
            RandomResize::ShortestEdge(low, high)
        }
    }
}

/// Strengths of the colour jitter, defined as in torchvision: a factor is drawn from `1 - x` to
/// `1 + x`; hue is shifted by up to `x` of the full circle.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ColorJitter {
    #[schemars(range(min = 0.0, max = 10.0))]
    pub brightness: f64,
    #[schemars(range(min = 0.0, max = 10.0))]
    pub contrast: f64,
    #[schemars(range(min = 0.0, max = 10.0))]
    pub saturation: f64,
    #[schemars(range(min = 0.0, max = 0.5))]
    pub hue: f64,
}

/// Random augmentation of training images. Keys that aren't given are off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Augmentations {
    /// Probability of a horizontal flip.
    pub horizontal_flip: Probability,
    /// Probability of a vertical flip.
    pub vertical_flip: Probability,
    /// Maximum rotation in degrees, in either direction.
    #[schemars(range(min = 0.0, max = 180.0))]
    pub rotation: f64,
    /// Probability of a perspective transform: each corner of the visible area moves inwards by up
    /// to 10 % of width and height.
    pub perspective: Probability,
    /// Probability of a random crop of at least half of each side; if there are objects, at least
    /// one is kept.
    pub random_crop: Probability,
    /// `[low, high]`: a random factor on the size (pairs up to 10), or a random length of the
    /// shortest edge in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(inner(range(min = 0.01)))]
    pub random_resize: Option<[f64; 2]>,
    /// `[low, high]`: a random factor on the size of the model's input, one for each batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(inner(range(min = 0.1, max = 10.0)))]
    pub multi_scale: Option<[f64; 2]>,
    /// Probability of a change of brightness and contrast, each by up to 20 %.
    pub brightness_contrast: Probability,
    /// Probability of a change of hue (by up to 20 of 360 degrees), saturation (30 of 255) and
    /// value (20 of 255).
    pub hue_saturation: Probability,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<ColorJitter>,
    /// Probability of a Gaussian blur with a sigma from 0.1 to 2 pixels.
    pub blur: Probability,
    /// Probability of mosaic: three more images fill the other quarters around a random point.
    pub mosaic: Probability,
    /// Probability of mixup: another image is blended in, with its objects. For tasks with objects;
    /// for image classification use `model.mixup_alpha`.
    pub mixup: Probability,
    /// Probability of copy-paste: objects of another image are pasted in. They need masks or
    /// polygons.
    pub copy_paste: Probability,
    /// Number of epochs without augmentation at the end of training.
    pub off_last_epochs: u32,
    /// Objects that a geometric transform makes smaller than this area are removed, in square
    /// pixels of the image.
    #[schemars(range(min = 0.0))]
    pub min_area: f64,
    /// Objects of which a geometric transform leaves less than this fraction in the image are
    /// removed, from 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_visibility: f64,
}

impl Default for Augmentations {
    fn default() -> Self {
        Augmentations {
            horizontal_flip: Probability::default(),
            vertical_flip: Probability::default(),
            rotation: 0.0,
            perspective: Probability::default(),
            random_crop: Probability::default(),
            random_resize: None,
            multi_scale: None,
            brightness_contrast: Probability::default(),
            hue_saturation: Probability::default(),
            color_jitter: None,
            blur: Probability::default(),
            mosaic: Probability::default(),
            mixup: Probability::default(),
            copy_paste: Probability::default(),
            off_last_epochs: 0,
            min_area: 25.0,
            min_visibility: 0.1,
        }
    }
}

impl Augmentations {
    /// The default augmentation: a horizontal flip with probability 0.5.
    pub fn usual() -> Self {
        Augmentations {
            horizontal_flip: Probability::Chance(0.5),
            ..Augmentations::default()
        }
    }
}

//! The section `data.augmentations`: random changes of training images.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A chance from 0 to 1; `true` is 0.5 and `false` is 0.
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

/// How images are resized at random, from a pair `[low, high]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RandomResize {
    /// A factor on the size that the model's input has.
    Factor(f64, f64),
    /// The length of the shortest edge, in pixels.
    ShortestEdge(f64, f64),
}

impl RandomResize {
    /// Pairs up to 10 are factors, larger ones are pixels.
    pub fn from_pair([low, high]: [f64; 2]) -> Self {
        if high <= 10.0 {
            RandomResize::Factor(low, high)
        } else {
            RandomResize::ShortestEdge(low, high)
        }
    }
}

/// Strengths of a colour jitter, with torchvision's meaning: a factor is drawn from `1 - x` to `1 + x`; hue is turned by up to
/// `x` of the whole circle.
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

/// Random changes of training images. What isn't given is off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Augmentations {
    /// The chance of a left-right mirror image.
    pub horizontal_flip: Probability,
    /// The chance of an upside-down mirror image.
    pub vertical_flip: Probability,
    /// Turned by up to so many degrees either way.
    #[schemars(range(min = 0.0, max = 180.0))]
    pub rotation: f64,
    /// The chance that the image is seen from another side: each corner of what is shown moves inwards by up to 10 % of width
    /// and height.
    pub perspective: Probability,
    /// The chance that a random part is cut out, of at least half of each side; where there are objects, at least one stays.
    pub random_crop: Probability,
    /// `[low, high]`: a random factor on the size (pairs up to 10), or a random length of the shortest edge in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(inner(range(min = 0.01)))]
    pub random_resize: Option<[f64; 2]>,
    /// `[low, high]`: a random factor on the size of the model's input, one for each batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(inner(range(min = 0.1, max = 10.0)))]
    pub multi_scale: Option<[f64; 2]>,
    /// The chance that brightness and contrast change, each by up to 20 %.
    pub brightness_contrast: Probability,
    /// The chance that hue (by up to 20 of 360 degrees), saturation (30 of 255) and value (20 of 255) change.
    pub hue_saturation: Probability,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<ColorJitter>,
    /// The chance of a Gaussian blur, with a sigma from 0.1 to 2 pixels.
    pub blur: Probability,
    /// The chance that three more images fill the other quarters around a random point.
    pub mosaic: Probability,
    /// The chance that another image is blended in, with its objects. For objects; for classes of whole images there is
    /// `model.mixup_alpha`.
    pub mixup: Probability,
    /// The chance that objects of another image are pasted in. They need masks or polygons.
    pub copy_paste: Probability,
    /// No random changes in this many epochs at the end of the training.
    pub off_last_epochs: u32,
    /// An object that a change of geometry made smaller than this leaves, in square pixels of the image.
    #[schemars(range(min = 0.0))]
    pub min_area: f64,
    /// An object of which a change of geometry leaves less than this part in the image leaves, from 0 to 1.
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
    /// What is done when a configuration says nothing: a left-right mirror image of every other image.
    pub fn usual() -> Self {
        Augmentations {
            horizontal_flip: Probability::Chance(0.5),
            ..Augmentations::default()
        }
    }
}

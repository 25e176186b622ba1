//! Colour augmentations.

use super::kernels;
use super::pixels::Hsv;
use super::{Augmentations, ColorJitter, Random};

/// Maximum relative change of brightness and contrast.
const TONE: f64 = 0.2;
/// Maximum change of hue, in degrees.
const HUE: f64 = 20.0;
/// Maximum change of saturation, on a scale from 0 to 1.
const SATURATION: f64 = 30.0 / 255.0;
/// Maximum change of value, on a scale from 0 to 1.
const VALUE: f64 = 20.0 / 255.0;

/// One colour transformation with its drawn parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// `v * gain + offset`, with v and offset on a scale from 0 to 255.
    Tone { gain: f64, offset: f64 },
    /// Adds to hue (degrees), saturation and value (0 to 1) in the HSV cone.
    Hsv { hue: f64, saturation: f64, value: f64 },
    /// Blends with the image's mean grey: 0 yields uniform grey, 1 leaves the image unchanged,
    /// larger factors increase the contrast.
    Contrast(f64),
    /// Blends with the image's own greyscale version.
    Saturation(f64),
}

impl Step {
    /// Draws the steps for one sample, in order.
    pub fn random(augmentations: &Augmentations, random: &mut Random) -> Vec<Self> {
        let mut steps = Vec::new();
        if random.probability(augmentations.brightness_contrast.value()) {
            steps.push(Step::Tone {
                gain: 1.0 + random.uniform(-TONE, TONE),
                offset: 255.0 * random.uniform(-TONE, TONE),
            });
        }
        if random.probability(augmentations.hue_saturation.value()) {
            steps.push(Step::Hsv {
                hue: random.uniform(-HUE, HUE),
                saturation: random.uniform(-SATURATION, SATURATION),
                value: random.uniform(-VALUE, VALUE),
            });
        }
        if let Some(jitter) = &augmentations.color_jitter {
            steps.extend(Step::random_jitter(jitter, random));
        }
        steps
    }

    /// The steps of torchvision's `ColorJitter`, in random order; strengths of 0 are omitted.
    fn random_jitter(jitter: &ColorJitter, random: &mut Random) -> Vec<Self> {
        let mut factor = |strength: f64| random.uniform((1.0 - strength).max(0.0), 1.0 + strength);
        let brightness = Step::Tone {
            gain: factor(jitter.brightness),
            offset: 0.0,
        };
        let contrast = Step::Contrast(factor(jitter.contrast));
        let saturation = Step::Saturation(factor(jitter.saturation));
        let hue = Step::Hsv {
            hue: 360.0 * random.uniform(-jitter.hue, jitter.hue),
            saturation: 0.0,
            value: 0.0,
        };
        let mut steps: Vec<Step> = [
            (jitter.brightness, brightness),
            (jitter.contrast, contrast),
            (jitter.saturation, saturation),
            (jitter.hue, hue),
        ]
        .into_iter()
        .filter_map(|(strength, step)| (strength > 0.0).then_some(step))
        .collect();
        random.shuffle(&mut steps);
        steps
    }

    /// Transforms a part of an image's RGB pixels in place; `mean_grey` is that of the whole image.
    fn apply(&self, pixels: &mut [[u8; 3]], mean_grey: f64) {
        match *self {
            Step::Tone { gain, offset } => {
                kernels::tone(pixels.as_flattened_mut(), gain as f32, offset as f32)
            }
            Step::Contrast(factor) => {
                let offset = (1.0 - factor) * mean_grey;
                kernels::tone(pixels.as_flattened_mut(), factor as f32, offset as f32);
            }
            Step::Saturation(factor) => kernels::saturate(pixels, factor as f32),
            Step::Hsv {
                hue,
                saturation,
                value,
            } => {
                let shift = Hsv {
                    turn: (hue / 360.0) as f32,
                    saturation: saturation as f32,
                    value: value as f32,
                };
                kernels::shift_hsv(pixels, shift);
            }
        }
    }
}

/// Number of pixels per chunk, so that a chunk stays in the L1 cache while all steps are applied.
const CHUNK: usize = 4096;

/// Applies all steps to RGB pixels in place, in a single pass except before steps that need the
/// whole image's current mean grey.
pub fn apply(steps: &[Step], pixels: &mut [[u8; 3]]) {
    let mut rest = steps;
    while !rest.is_empty() {
        let mean = if matches!(rest.first(), Some(Step::Contrast(_))) {
            mean_grey(pixels)
        } else {
            0.0
        };
        let later = rest.iter().skip(1).position(|s| matches!(s, Step::Contrast(_)));
        let (now, after) = rest.split_at(later.map_or(rest.len(), |i| i + 1));
        for part in pixels.chunks_mut(CHUNK) {
            now.iter().for_each(|step| step.apply(part, mean));
        }
        rest = after;
    }
}

/// The mean grey, rounded to an integer, as in torchvision's contrast for Pillow images.
fn mean_grey(pixels: &[[u8; 3]]) -> f64 {
    (kernels::grey_sum(pixels) as f64 / pixels.len().max(1) as f64).round()
}

#[cfg(test)]
mod tests;

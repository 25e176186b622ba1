//! Changes of colour.

use super::{ColorJitter, Random};

/// Brightness and contrast change by up to this part.
const TONE: f64 = 0.2;
/// Hue turns by up to so many degrees.
const HUE: f64 = 20.0;
/// Saturation changes by up to this, from 0 to 1.
const SATURATION: f64 = 30.0 / 255.0;
/// Value changes by up to this, from 0 to 1.
const VALUE: f64 = 20.0 / 255.0;

/// One change of colour, drawn and ready to apply.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// `v * gain + offset`, v and offset from 0 to 255.
    Tone { gain: f64, offset: f64 },
    /// Hue in degrees, saturation and value from 0 to 1 are added to; in the HSV cone.
    Hsv { hue: f64, saturation: f64, value: f64 },
    /// Mixed with the mean grey: 0 is all grey, 1 the picture as it is, above it more contrast.
    Contrast(f64),
    /// Mixed with its own greyscale.
    Saturation(f64),
}

impl Step {
    pub fn random_tone(random: &mut Random) -> Self {
        Step::Tone {
            gain: 1.0 + random.uniform(-TONE, TONE),
            offset: 255.0 * random.uniform(-TONE, TONE),
        }
    }

    pub fn random_hsv(random: &mut Random) -> Self {
        Step::Hsv {
            hue: random.uniform(-HUE, HUE),
            saturation: random.uniform(-SATURATION, SATURATION),
            value: random.uniform(-VALUE, VALUE),
        }
    }

    /// The steps of torchvision's `ColorJitter`, in random order; strengths of 0 give none.
    pub fn random_jitter(jitter: &ColorJitter, random: &mut Random) -> Vec<Self> {
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

    /// Changes RGB pixels in place.
    pub fn apply(&self, pixels: &mut [u8]) {
        match *self {
            Step::Tone { gain, offset } => tone(pixels, gain, offset),
            Step::Contrast(factor) => {
                let mean = mean_grey(pixels);
                tone(pixels, factor, (1.0 - factor) * mean);
            }
            Step::Saturation(factor) => {
                for pixel in pixels.as_chunks_mut::<3>().0 {
                    let grey = f64::from(grey(*pixel));
                    *pixel = pixel.map(|v| byte(f64::from(v) * factor + (1.0 - factor) * grey));
                }
            }
            Step::Hsv {
                hue,
                saturation,
                value,
            } => {
                for pixel in pixels.as_chunks_mut::<3>().0 {
                    *pixel = shifted(*pixel, hue as f32, saturation as f32, value as f32);
                }
            }
        }
    }
}

fn byte(value: f64) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

fn tone(pixels: &mut [u8], gain: f64, offset: f64) {
    let table: [u8; 256] = std::array::from_fn(|v| byte(v as f64 * gain + offset));
    for v in pixels {
        *v = table.get(usize::from(*v)).copied().unwrap_or(*v);
    }
}

/// Luma of ITU-R BT.601 in 16-bit fixed point, as Pillow computes mode `L`.
fn grey([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}

/// Rounded to a whole number, as torchvision's contrast does with Pillow.
fn mean_grey(pixels: &[u8]) -> f64 {
    let pixels = pixels.as_chunks::<3>().0;
    let sum: u64 = pixels.iter().map(|p| u64::from(grey(*p))).sum();
    (sum as f64 / pixels.len().max(1) as f64).round()
}

/// A pixel with its hue turned and saturation and value added to (Smith 1978). Greys have no hue and stay grey.
fn shifted(rgb: [u8; 3], hue: f32, saturation: f32, value: f32) -> [u8; 3] {
    let [r, g, b] = rgb.map(|v| f32::from(v) / 255.0);
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    let range = max - min;
    let new_max = (max + value).clamp(0.0, 1.0);
    if range <= 0.0 {
        return [(new_max * 255.0).round() as u8; 3];
    }
    let sixth = if max == r {
        (g - b) / range
    } else if max == g {
        (b - r) / range + 2.0
    } else {
        (r - g) / range + 4.0
    };
    let sixth = (sixth + hue / 60.0).rem_euclid(6.0);
    let new_range = (range / max + saturation).clamp(0.0, 1.0) * new_max;
    // Channel k of 5, 3, 1 for red, green, blue: how far its distance from the peak takes it down.
    [5.0, 3.0, 1.0].map(|k: f32| {
        let k = (k + sixth).rem_euclid(6.0);
        let down = k.min(4.0 - k).clamp(0.0, 1.0);
        ((new_max - new_range * down) * 255.0).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_shift_changes_nothing_and_a_full_turn_comes_back() {
        for r in (0..=255).step_by(15) {
            for g in (0..=255).step_by(17) {
                for b in (0..=255).step_by(51) {
                    let rgb = [r as u8, g as u8, b as u8];
                    assert_eq!(shifted(rgb, 0.0, 0.0, 0.0), rgb);
                    let turned = shifted(rgb, 360.0, 0.0, 0.0);
                    assert!(
                        turned.iter().zip(rgb).all(|(a, b)| a.abs_diff(b) <= 1),
                        "{rgb:?} {turned:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_third_of_a_turn_makes_red_green() {
        assert_eq!(shifted([255, 0, 0], 120.0, 0.0, 0.0), [0, 255, 0]);
        assert_eq!(shifted([0, 255, 0], -120.0, 0.0, 0.0), [255, 0, 0]);
        assert_eq!(shifted([100, 100, 100], 50.0, 0.5, 0.0), [100, 100, 100]);
        assert_eq!(shifted([100, 50, 50], 0.0, -1.0, 0.0), [100, 100, 100]);
    }

    #[test]
    fn contrast_zero_is_the_mean_grey_and_saturation_zero_is_greyscale() {
        let mut pixels = vec![0, 0, 0, 200, 200, 200];
        Step::Contrast(0.0).apply(&mut pixels);
        assert_eq!(pixels, [100; 6]);
        let mut pixels = vec![255, 0, 0];
        Step::Saturation(0.0).apply(&mut pixels);
        assert_eq!(pixels, [76; 3]);
    }

    #[test]
    fn jitter_of_strength_zero_is_off_and_others_stay_in_their_range() {
        let mut random = Random::new(0, 0, 0);
        assert!(Step::random_jitter(&ColorJitter::default(), &mut random).is_empty());
        let jitter = ColorJitter {
            brightness: 0.5,
            contrast: 2.0,
            ..Default::default()
        };
        for _ in 0..200 {
            let steps = Step::random_jitter(&jitter, &mut random);
            assert_eq!(steps.len(), 2);
            for step in steps {
                match step {
                    Step::Tone { gain, offset } => assert!((0.5..1.5).contains(&gain) && offset == 0.0),
                    Step::Contrast(factor) => assert!((0.0..3.0).contains(&factor)),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

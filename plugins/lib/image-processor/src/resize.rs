//! Resizing 8-bit RGB with antialiasing, to the bit as PIL does it.
//!
//! A convolution that widens its filter when shrinking, along rows and along columns, with 22-bit fixed-point weights and the
//! picture rounded to 8 bits in between. Libraries that take the passes in another order or have 16-bit weights differ by
//! 1/255 in a fifth of the pixels, which the small models of the reference cases notice.

use cvhost_plugin_api::error::{PluginError, Result};
use std::f64::consts::PI;

/// Fraction bits of a weight: 32 less 8 for the pixel and 2 for filters that overshoot.
pub(crate) const WEIGHT_BITS: u32 = 22;

/// How pixels in between are found. The numbers in `preprocessor_config.json` are PIL's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resample {
    Nearest,
    Lanczos,
    Bilinear,
    Bicubic,
    Box,
    Hamming,
}

impl Resample {
    const ALL: [Resample; 6] = [
        Resample::Nearest,
        Resample::Lanczos,
        Resample::Bilinear,
        Resample::Bicubic,
        Resample::Box,
        Resample::Hamming,
    ];

    /// The filter of that number in `preprocessor_config.json`.
    pub fn from_code(code: u64) -> Result<Self> {
        usize::try_from(code).ok().and_then(|i| Self::ALL.get(i)).copied().ok_or_else(|| {
            PluginError::checkpoint(format!(
                "preprocessor_config.json: `resample` is {code}; expected 0 (nearest), 1 (lanczos), 2 (bilinear), 3 (bicubic), \
                 4 (box) or 5 (hamming)"
            ))
        })
    }

    /// Its number in `preprocessor_config.json`.
    pub fn code(self) -> u64 {
        Self::ALL.iter().position(|&r| r == self).unwrap_or_default() as u64
    }

    /// How far the filter reaches to either side, in pixels of the smaller picture.
    fn support(self) -> f64 {
        match self {
            Resample::Nearest => 0.0,
            Resample::Box => 0.5,
            Resample::Bilinear | Resample::Hamming => 1.0,
            Resample::Bicubic => 2.0,
            Resample::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let distance = x.abs();
        match self {
            Resample::Nearest => 1.0,
            // Half open, so that a pixel on the border counts once.
            Resample::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Resample::Bilinear => (1.0 - distance).max(0.0),
            Resample::Hamming if x == 0.0 => 1.0,
            Resample::Hamming if distance < 1.0 => {
                let angle = distance * PI;
                angle.sin() / angle * (0.54 + 0.46 * angle.cos())
            }
            Resample::Bicubic => keys_cubic(distance),
            Resample::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Resample::Hamming | Resample::Lanczos => 0.0,
        }
    }
}

/// Keys 1981 with a = -0.5.
fn keys_cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

/// What every output position of one axis is made of.
pub(crate) struct Taps {
    /// Of each output position: its first input position, and where its weights lie in `weights`.
    spans: Vec<(usize, std::ops::Range<usize>)>,
    weights: Vec<i32>,
}

impl Taps {
    /// The weights that take `from` positions to `to`.
    pub(crate) fn new(filter: Resample, from: usize, to: usize) -> Self {
        if filter == Resample::Nearest {
            return Self::nearest(from, to);
        }
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let mut taps = Taps {
            spans: Vec::with_capacity(to),
            weights: Vec::new(),
        };
        let mut exact: Vec<f64> = Vec::new();
        for position in 0..to {
            let centre = (position as f64 + 0.5) * scale;
            let start = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            exact.clear();
            exact.extend((start..end).map(|i| filter.weight((i as f64 - centre + 0.5) * (1.0 / stretch))));
            let sum: f64 = exact.iter().sum();
            let first = taps.weights.len();
            taps.weights.extend(
                exact
                    .iter()
                    .map(|w| fixed_point(if sum == 0.0 { *w } else { w / sum })),
            );
            taps.spans.push((start, first..taps.weights.len()));
        }
        taps
    }

    /// One input position each. The position is added up in steps, as PIL does: the rounding matters at borders.
    fn nearest(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let mut at = scale * 0.5;
        let mut spans = Vec::with_capacity(to);
        for _ in 0..to {
            spans.push(((at as usize).min(from.saturating_sub(1)), 0..1));
            at += scale;
        }
        Taps {
            spans,
            weights: vec![1 << WEIGHT_BITS],
        }
    }

    /// Of each output position, in order: its first input position and the weights from there on.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.spans
            .iter()
            .map(|(start, range)| (*start, self.weights.get(range.clone()).unwrap_or_default()))
    }

    /// The first input position and the weights of output position `index`; none outside.
    pub(crate) fn get(&self, index: usize) -> (usize, &[i32]) {
        match self.spans.get(index) {
            Some((start, range)) => (*start, self.weights.get(range.clone()).unwrap_or_default()),
            None => (0, &[]),
        }
    }
}

fn fixed_point(weight: f64) -> i32 {
    (weight * f64::from(1 << WEIGHT_BITS) + if weight < 0.0 { -0.5 } else { 0.5 }) as i32
}

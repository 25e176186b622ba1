//! Antialiased resizing of 8-bit RGB, bit-exact with PIL.
//!
//! A separable convolution whose filter widens when downscaling, with 22-bit fixed-point weights;
//! the intermediate image is rounded to 8 bits. Libraries that order the passes differently or use
//! 16-bit weights differ by 1/255 in a fifth of the pixels, which is noticeable in the small models
//! of the reference cases.

use cvhost_plugin_api::error::{PluginError, Result};
use std::f64::consts::PI;
use std::ops::Range;

/// Fraction bits of a weight: 32 minus 8 for the pixel and 2 for filters that overshoot.
pub(crate) const WEIGHT_BITS: u32 = 22;

/// The interpolation filter. The codes in `preprocessor_config.json` are PIL's.
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

    /// The filter with this code in `preprocessor_config.json`.
    pub fn from_code(code: u64) -> Result<Self> {
        usize::try_from(code).ok().and_then(|i| Self::ALL.get(i)).copied().ok_or_else(|| {
            PluginError::checkpoint(format!(
                "preprocessor_config.json: `resample` is {code}; expected 0 (nearest), 1 (lanczos), 2 (bilinear), \
                 3 (bicubic), 4 (box) or 5 (hamming)"
            ))
        })
    }

    /// The filter's code in `preprocessor_config.json`.
    pub fn code(self) -> u64 {
        Self::ALL.iter().position(|&r| r == self).unwrap_or_default() as u64
    }

    /// Half width of the filter, in pixels of the smaller image.
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
            // Half-open, so that a pixel on the border counts only once.
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

/// Keys' cubic convolution kernel (1981) with a = -0.5.
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

/// The input positions and weights for the output positions of one axis.
pub(crate) struct Taps {
    /// For each output position: its first input position, and the range of its weights in
    /// `weights`.
    spans: Vec<(usize, Range<usize>)>,
    weights: Vec<i32>,
}

impl Taps {
    /// The weights for resizing `from` positions to `to`, for the output positions in `part`.
    pub(crate) fn new(filter: Resample, from: usize, to: usize, part: Range<usize>) -> Self {
        if filter == Resample::Nearest {
            return Self::nearest(from, to, part);
        }
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let mut taps = Taps {
            spans: Vec::with_capacity(part.len()),
            weights: Vec::new(),
        };
        let mut exact: Vec<f64> = Vec::new();
        for position in part {
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

    /// One input position per output position.
    fn nearest(from: usize, to: usize, part: Range<usize>) -> Self {
        let spans = nearest(from, to).skip(part.start).take(part.len());
        Taps {
            spans: spans.map(|at| (at, 0..1)).collect(),
            weights: vec![1 << WEIGHT_BITS],
        }
    }

    /// For each output position, in order: its first input position and the weights from there on.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.spans
            .iter()
            .map(|(start, range)| (*start, self.weights.get(range.clone()).unwrap_or_default()))
    }

    /// The range of input positions used.
    pub(crate) fn reach(&self) -> Range<usize> {
        let first = self.spans.first().map_or(0, |(start, _)| *start);
        let end = self.spans.last().map_or(0, |(start, range)| start + range.len());
        first..end
    }

    /// The maximum number of input positions per output position.
    pub(crate) fn most(&self) -> usize {
        self.spans.iter().map(|(_, range)| range.len()).max().unwrap_or(0)
    }
}

/// The input position for each of `to` output positions. The position is accumulated step by step
/// like in PIL, because the rounding matters at borders.
pub(crate) fn nearest(from: usize, to: usize) -> impl Iterator<Item = usize> {
    let scale = from as f64 / to as f64;
    let mut at = scale * 0.5;
    (0..to).map(move |_| {
        let position = (at as usize).min(from.saturating_sub(1));
        at += scale;
        position
    })
}

fn fixed_point(weight: f64) -> i32 {
    (weight * f64::from(1 << WEIGHT_BITS) + if weight < 0.0 { -0.5 } else { 0.5 }) as i32
}

//! A colour for every class, the same in all images: in previews of data and in drawn predictions.

/// Twelve colours that are easy to distinguish on photographs; further classes get hues in between.
const FIRST: [[u8; 3]; 12] = [
    [230, 60, 60],
    [40, 150, 245],
    [50, 180, 90],
    [255, 160, 20],
    [160, 80, 220],
    [20, 190, 200],
    [240, 90, 180],
    [150, 190, 30],
    [105, 110, 245],
    [200, 110, 50],
    [250, 215, 40],
    [0, 120, 110],
];

/// The RGB colour of a label.
pub fn colour(label: i64) -> [u8; 3] {
    let index = label.rem_euclid(1 << 20) as usize;
    match FIRST.get(index) {
        Some(colour) => *colour,
        // Steps by the golden angle avoid earlier hues for long; the brightness alternates.
        None => from_hue(
            (index as f64 * 137.507_764).rem_euclid(360.0),
            if index.is_multiple_of(2) { 0.85 } else { 1.0 },
        ),
    }
}

/// Converts from HSV with a saturation of 0.75.
fn from_hue(degrees: f64, value: f64) -> [u8; 3] {
    [5.0, 3.0, 1.0].map(|offset| {
        let k = (offset + degrees / 60.0) % 6.0;
        let level = value * (1.0 - 0.75 * k.min(4.0 - k).clamp(0.0, 1.0));
        (level * 255.0).round() as u8
    })
}

/// Black or white, whichever is more readable on `background` (relative luminance as defined by
/// WCAG 2).
pub fn text_on(background: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = background.map(|v| {
        let v = f64::from(v) / 255.0;
        if v <= 0.04045 {
            v / 12.92
        } else {
            ((v + 0.055) / 1.055).powf(2.4)
        }
    });
    let luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    // Above this luminance, black has the higher contrast. The theoretical value of 0.179 is raised
    // since bold white text is readable on saturated hues.
    if luminance > 0.3 {
        [0, 0, 0]
    } else {
        [255, 255, 255]
    }
}

/// The colour at `fraction`, from 0 to 1, between dark blue and yellow.
pub fn ramp(fraction: f64) -> [u8; 3] {
    let fraction = if fraction.is_finite() {
        fraction.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let at = |low: f64, high: f64| (low + (high - low) * fraction).round() as u8;
    [at(40.0, 255.0), at(30.0, 230.0), at(120.0, 40.0)]
}

/// Composites `over` on `under` with this opacity, from 0 to 1.
pub fn blend(under: [u8; 3], over: [u8; 3], opacity: f64) -> [u8; 3] {
    let mut mixed = under;
    for (value, above) in mixed.iter_mut().zip(over) {
        *value = (f64::from(*value) * (1.0 - opacity) + f64::from(above) * opacity).round() as u8;
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_hundred_classes_have_distinct_colours() {
        let colours: HashSet<[u8; 3]> = (0..100).map(colour).collect();
        assert_eq!(colours.len(), 100);
        assert_eq!(colour(-1), colour(-1));
    }

    #[test]
    fn blending_interpolates_between_both_colours() {
        assert_eq!(blend([0, 100, 200], [200, 100, 0], 0.0), [0, 100, 200]);
        assert_eq!(blend([0, 100, 200], [200, 100, 0], 0.5), [100, 100, 100]);
        assert_eq!(ramp(f64::NAN), ramp(0.0));
        assert_ne!(ramp(0.0), ramp(1.0));
    }

    #[test]
    fn hues_match_their_names() {
        assert_eq!(from_hue(0.0, 1.0), [255, 64, 64]);
        assert_eq!(from_hue(120.0, 1.0), [64, 255, 64]);
        assert_eq!(from_hue(240.0, 1.0), [64, 64, 255]);
        assert_eq!(text_on([255, 255, 0]), [0, 0, 0]);
        assert_eq!(text_on([0, 0, 120]), [255, 255, 255]);
    }
}

//! A colour for every label, the same in every picture.

/// Colours that are told apart easily on photographs; further labels get hues between them.
const FIRST: [[u8; 3]; 8] = [
    [255, 80, 60],
    [60, 160, 255],
    [90, 210, 80],
    [255, 190, 40],
    [190, 110, 255],
    [40, 220, 220],
    [255, 110, 200],
    [190, 150, 90],
];

/// The golden angle in degrees: its multiples never come close to an earlier one for long.
const GOLDEN: f64 = 137.507_764;

/// The colour of a label, RGB.
pub fn colour(label: i64) -> [u8; 3] {
    let index = label.rem_euclid(1 << 20) as usize;
    match FIRST.get(index) {
        Some(colour) => *colour,
        None => bright((index as f64 * GOLDEN).rem_euclid(360.0)),
    }
}

/// A colour of full value and a saturation of 0.7, by its hue in degrees.
fn bright(hue: f64) -> [u8; 3] {
    // The distance on the colour circle to red, green and blue: full within 60 degrees, none beyond 120.
    [0.0, 120.0, 240.0].map(|primary| {
        let distance = (hue - primary + 180.0).rem_euclid(360.0) - 180.0;
        let share = (2.0 - distance.abs() / 60.0).clamp(0.0, 1.0);
        (255.0 * (0.3 + 0.7 * share)).round() as u8
    })
}

/// Where `share`, from 0 to 1, lies between dark blue and yellow.
pub fn ramp(share: f64) -> [u8; 3] {
    let share = if share.is_finite() {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let at = |low: f64, high: f64| (low + (high - low) * share).round() as u8;
    [at(40.0, 255.0), at(30.0, 230.0), at(120.0, 40.0)]
}

/// `over` laid on `under` with this opacity, from 0 to 1.
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
    fn a_hundred_labels_have_a_hundred_colours() {
        assert_eq!((0..100).map(colour).collect::<HashSet<_>>().len(), 100);
        assert_eq!(colour(-3), colour(-3));
        assert_eq!(bright(0.0), [255, 77, 77]);
        assert_eq!(bright(120.0), [77, 255, 77]);
    }

    #[test]
    fn blending_goes_from_one_to_the_other() {
        assert_eq!(blend([0, 100, 200], [200, 100, 0], 0.0), [0, 100, 200]);
        assert_eq!(blend([0, 100, 200], [200, 100, 0], 0.5), [100, 100, 100]);
        assert_eq!(ramp(f64::NAN), ramp(0.0));
        assert_ne!(ramp(0.0), ramp(1.0));
    }
}

//! Maps 8-bit pixels to rescaled and normalised values.

/// The result for each 8-bit value of each channel, and equivalent arithmetic if there is any.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Values {
    pub(crate) table: [[f32; 256]; 3],
    pub(crate) rule: Option<[Rule; 3]>,
}

/// `(pixel · (rescale_high + rescale_low) - mean) / std`, with the first product and sum rounded
/// once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rule {
    pub(crate) rescale_high: f32,
    pub(crate) rescale_low: f32,
    pub(crate) mean: f32,
    pub(crate) std: f32,
}

impl Values {
    /// Rescales in float64 and rounds to float32, then normalises by mean and standard deviation in
    /// float32, like the reference.
    pub(crate) fn new(rescale: Option<f64>, normalise: Option<([f64; 3], [f64; 3])>) -> Self {
        let factor = rescale.unwrap_or(1.0);
        let mut table = [[0.0; 256]; 3];
        let (means, stds) = normalise.unwrap_or(([0.0; 3], [1.0; 3]));
        let mut rules = [Rule::new(factor, 0.0, 1.0); 3];
        let channels = table.iter_mut().zip(&mut rules).zip(means).zip(stds);
        for (((line, rule), mean), std) in channels {
            *rule = Rule::new(factor, mean, std);
            for (value, entry) in line.iter_mut().enumerate() {
                let scaled = (value as f64 * factor) as f32;
                *entry = match normalise {
                    Some(_) => (scaled - mean as f32) / std as f32,
                    None => scaled,
                };
            }
        }
        let same = rules.iter().zip(&table).all(|(rule, line)| {
            (0..=255)
                .zip(line)
                .all(|(v, e)| rule.of(v).to_bits() == e.to_bits())
        });
        Values {
            table,
            rule: same.then_some(rules),
        }
    }
}

impl Rule {
    fn new(factor: f64, mean: f64, std: f64) -> Self {
        let rescale_high = factor as f32;
        Rule {
            rescale_high,
            rescale_low: (factor - f64::from(rescale_high)) as f32,
            mean: mean as f32,
            std: std as f32,
        }
    }

    /// The value of a pixel, computed with the same operations as in the kernels.
    fn of(self, pixel: u8) -> f32 {
        let pixel = f32::from(pixel);
        let scaled = pixel.mul_add(self.rescale_high, pixel * self.rescale_low);
        (scaled - self.mean) / self.std
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_rules_have_arithmetic_equal_to_the_table() {
        let imagenet = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        for (rescale, normalise) in [
            (Some(1.0 / 255.0), Some(imagenet)),
            (Some(1.0 / 255.0), Some(([0.5; 3], [0.5; 3]))),
            (Some(1.0 / 255.0), None),
            (None, Some(imagenet)),
            (None, None),
        ] {
            let values = Values::new(rescale, normalise);
            let rules = values.rule.expect("arithmetic");
            for (rule, line) in rules.iter().zip(&values.table) {
                for (pixel, &entry) in (0u8..=255).zip(line) {
                    assert_eq!(rule.of(pixel), entry);
                }
            }
        }
    }

    #[test]
    fn values_match_the_reference() {
        let values = Values::new(Some(1.0 / 255.0), Some(([0.485; 3], [0.229; 3])));
        // numpy: (np.float32(np.float64(v) / 255) - np.float32(0.485)) / np.float32(0.229)
        assert_eq!(values.table[0][0], -2.117_904);
        assert_eq!(values.table[1][255], 2.248_908_3);
        assert_eq!(Values::new(None, None).table[2][200], 200.0);
    }
}

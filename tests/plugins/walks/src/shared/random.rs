//! Random numbers for synthetic images, the same in every run.

use std::ops::Range;

/// SplitMix64 (Steele, Lea and Flood 2014).
pub struct Random(u64);

impl Random {
    /// The generator for image `index` of a split. Splits with different names have different
    /// images.
    pub fn new(split: &str, index: usize) -> Self {
        // FNV-1a over the name.
        let name = split.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        Random(name ^ (index as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from `range.start` (inclusive) to `range.end` (exclusive).
    pub fn uniform(&mut self, range: Range<f64>) -> f64 {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        range.start + unit * (range.end - range.start)
    }

    /// An integer from `range.start` (inclusive) to `range.end` (exclusive).
    pub fn whole(&mut self, range: Range<i32>) -> i32 {
        self.uniform(f64::from(range.start)..f64::from(range.end)).floor() as i32
    }

    pub fn probability(&mut self, p: f64) -> bool {
        self.uniform(0.0..1.0) < p
    }

    /// `colour` with each channel brighter or darker by up to `spread`.
    pub fn near(&mut self, colour: [u8; 3], spread: i32) -> [u8; 3] {
        let shift = self.whole(-spread..spread + 1);
        colour.map(|c| (i32::from(c) + shift).clamp(0, 255) as u8)
    }
}

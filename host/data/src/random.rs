//! Random numbers that depend only on the seed, the epoch and the record, not on the thread or the
//! version of cvhost.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A stream of random numbers. The conversion from the generator's bits is implemented here,
/// because a run resumed with a later version must draw the same numbers.
pub struct Random(ChaCha8Rng);

/// The consumer of a record's seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Use {
    /// The task, when it reads the record.
    Task = 1,
    /// The adapter, when it prepares the sample.
    Adapter = 2,
}

impl Random {
    /// The stream of a record in an epoch. [`Random::ORDER`] is the stream that shuffles the epoch.
    pub fn new(seed: u64, epoch: u64, stream: u64) -> Self {
        let mut key = [0u8; 32];
        for (part, value) in key.chunks_exact_mut(8).zip([seed, epoch, stream, 0]) {
            part.copy_from_slice(&value.to_le_bytes());
        }
        Random(ChaCha8Rng::from_seed(key))
    }

    pub const ORDER: u64 = u64::MAX;
    /// The stream that splits a data set.
    pub const DIVISION: u64 = u64::MAX - 1;
    /// The stream that draws a sample of a data set for inspection.
    pub const SAMPLE: u64 = u64::MAX - 2;

    /// The stream of a batch in an epoch. Records use the lower half of the stream numbers.
    pub fn of_batch(seed: u64, epoch: u64, number: usize) -> Self {
        Random::new(seed, epoch, (1 << 63) | number as u64)
    }

    /// A seed for random choices outside of this crate. It depends only on the seed, the epoch, the
    /// record and the `Use`.
    pub fn seed_of_record(seed: u64, epoch: u64, record: u64, of: Use) -> u64 {
        let mut key = [0u8; 32];
        for (part, value) in key.chunks_exact_mut(8).zip([seed, epoch, record, of as u64]) {
            part.copy_from_slice(&value.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key).next_u64()
    }

    /// A uniform integer in `0..count`; 0 if `count` is 0. The bias is below 2^-32 for counts below
    /// 2^32.
    pub fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.0.next_u64()) * count as u128) >> 64) as usize
    }

    /// A uniform number in `low..high`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        let unit = (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        low + (high - low) * unit
    }

    /// True with the given probability.
    pub fn probability(&mut self, probability: f64) -> bool {
        self.uniform(0.0, 1.0) < probability
    }

    /// A sample from Beta(alpha, alpha) for an alpha above 0: mean 1/2, near 0 or 1 for a small
    /// alpha.
    pub fn beta(&mut self, alpha: f64) -> f64 {
        let (a, b) = (self.gamma(alpha), self.gamma(alpha));
        // Both are 0 only if alpha is so small that the distribution is a coin toss.
        if a + b > 0.0 {
            a / (a + b)
        } else {
            f64::from(u8::from(self.probability(0.5)))
        }
    }

    /// A sample from Gamma(shape, 1): Marsaglia and Tsang 2000, "A simple method for generating
    /// gamma variables".
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let unit = 1.0 - self.uniform(0.0, 1.0);
            return self.gamma(shape + 1.0) * unit.powf(1.0 / shape);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            let unit = 1.0 - self.uniform(0.0, 1.0);
            if v > 0.0 && unit.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// A sample from the standard normal distribution (Box-Muller transform).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform(0.0, 1.0)).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform(0.0, 1.0)).cos()
    }

    /// Shuffles a slice (Fisher-Yates).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            let other = self.below(last + 1);
            list.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interrupted runs depend on these numbers: a change here breaks resuming them.
    #[test]
    fn the_order_for_a_seed_never_changes() {
        let mut list: Vec<u32> = (0..8).collect();
        Random::new(42, 3, Random::ORDER).shuffle(&mut list);
        assert_eq!(list, [3, 0, 4, 5, 6, 1, 7, 2]);
    }

    /// Checks mean 1/2 and variance 1 / (4 (2 alpha + 1)).
    #[test]
    fn beta_has_its_mean_and_variance() {
        for alpha in [0.2, 1.0, 4.0] {
            let mut random = Random::of_batch(1, 0, 7);
            let drawn: Vec<f64> = (0..20_000).map(|_| random.beta(alpha)).collect();
            assert!(drawn.iter().all(|v| (0.0..=1.0).contains(v)));
            let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
            let variance = drawn.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / drawn.len() as f64;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.01, "{alpha}: mean {mean}");
            assert!(
                (variance / expected - 1.0).abs() < 0.05,
                "{alpha}: variance {variance}, expected {expected}"
            );
        }
    }

    #[test]
    fn numbers_stay_in_their_range_and_differ_by_epoch_and_record() {
        let mut random = Random::new(1, 2, 3);
        assert!((0..1000).all(|_| random.below(7) < 7));
        assert!(
            (0..1000)
                .map(|_| random.uniform(-2.0, 3.0))
                .all(|v| (-2.0..3.0).contains(&v))
        );
        assert!((0..100).all(|_| random.probability(1.0) && !random.probability(0.0)));
        let first = |seed, epoch, stream| Random::new(seed, epoch, stream).uniform(0.0, 1.0);
        assert_eq!(first(1, 2, 3), first(1, 2, 3));
        assert_ne!(first(1, 2, 3), first(1, 2, 4));
        assert_ne!(first(1, 2, 3), first(1, 3, 3));
        assert_ne!(first(1, 2, 3), first(2, 2, 3));
    }
}

//! The order of an epoch: which records it contains, how often, and how they are batched. Depends
//! only on the seed and the epoch.

use crate::random::Random;
use crate::{Source, decode};
use cvhost::config::{LastBatch, Sampling};
use cvhost::error::Result;
use std::collections::HashMap;

/// How records are ordered and batched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OrderOptions {
    /// Samples per batch; at least 1.
    pub batch_size: usize,
    /// Seed for shuffling each epoch. `None` keeps the records' own order, each record once.
    pub shuffle_seed: Option<u64>,
    /// Which records are oversampled; requires a seed.
    pub sampling: Sampling,
    /// For [`Sampling::RepeatFactor`]: records of a class that occurs in less than this fraction of
    /// the records are repeated.
    pub repeat_threshold: f64,
    /// Whether portrait and landscape images are batched separately, which reduces padding.
    pub group_by_aspect_ratio: bool,
    pub last_batch: LastBatch,
}

impl Default for OrderOptions {
    /// One record per batch, in order.
    fn default() -> Self {
        OrderOptions {
            batch_size: 1,
            shuffle_seed: None,
            sampling: Sampling::Natural,
            repeat_threshold: 0.001,
            group_by_aspect_ratio: false,
            last_batch: LastBatch::Keep,
        }
    }
}

/// Generates the order of every epoch.
#[derive(Debug)]
pub struct Order {
    options: OrderOptions,
    draw: Draw,
    /// Whether each record's image is in portrait format; empty without grouping.
    portrait: Vec<bool>,
}

#[derive(Debug)]
enum Draw {
    /// Every record once; holds the number of records.
    Each(usize),
    /// Draws with replacement, as many as there are records; holds the cumulative weights.
    Weighted(Vec<f64>),
    /// The expected number of repetitions of each record, and the number of records per epoch.
    Repeated(Vec<f64>, usize),
}

impl Order {
    /// Reads the metadata that the options require: the records' classes and sizes. A size missing
    /// from the annotations is read from the image's header.
    pub fn new(source: &dyn Source, mut options: OrderOptions) -> Result<Self> {
        options.batch_size = options.batch_size.max(1);
        let count = source.len();
        let sampling = options
            .shuffle_seed
            .map_or(Sampling::Natural, |_| options.sampling);
        let draw = match sampling {
            Sampling::Natural => Draw::Each(count),
            Sampling::ClassBalanced => Draw::Weighted(cumulative(&balanced(&classes(source)?))),
            Sampling::RepeatFactor => {
                let factors = repeat_factors(&classes(source)?, options.repeat_threshold);
                let length = factors.iter().sum::<f64>().round() as usize;
                Draw::Repeated(factors, length)
            }
        };
        let portrait = if options.group_by_aspect_ratio {
            (0..count)
                .map(|i| is_portrait(source, i))
                .collect::<Result<_>>()?
        } else {
            Vec::new()
        };
        Ok(Order {
            options,
            draw,
            portrait,
        })
    }

    /// The number of batches per epoch, the same in every epoch.
    pub fn batches(&self) -> usize {
        let size = self.options.batch_size;
        match self.options.last_batch {
            LastBatch::Drop => self.records() / size,
            LastBatch::Keep | LastBatch::Pad => self.records().div_ceil(size),
        }
    }

    fn records(&self) -> usize {
        match &self.draw {
            Draw::Each(count) => *count,
            Draw::Weighted(sums) => sums.len(),
            Draw::Repeated(_, length) => *length,
        }
    }

    /// The indices of an epoch's records; every `batch_size` consecutive ones form a batch.
    pub fn of_epoch(&self, epoch: u64) -> Vec<usize> {
        let mut order = match self.options.shuffle_seed {
            None => (0..self.records()).collect(),
            Some(seed) => self.drawn(&mut Random::new(seed, epoch, Random::ORDER)),
        };
        if !self.portrait.is_empty() {
            order = self.grouped(&order);
        }
        let whole = self.batches() * self.options.batch_size;
        match self.options.last_batch {
            LastBatch::Keep => {}
            LastBatch::Drop => order.truncate(whole),
            LastBatch::Pad => {
                let missing = whole.saturating_sub(order.len());
                let again: Vec<usize> = order.iter().cycle().take(missing).copied().collect();
                order.extend(again);
            }
        }
        order
    }

    fn drawn(&self, random: &mut Random) -> Vec<usize> {
        let mut order: Vec<usize> = match &self.draw {
            Draw::Each(count) => (0..*count).collect(),
            Draw::Weighted(sums) => {
                let total = sums.last().copied().unwrap_or(0.0);
                let last = sums.len().saturating_sub(1);
                let one = |_| {
                    let at = random.uniform(0.0, total);
                    sums.partition_point(|&sum| sum <= at).min(last)
                };
                return (0..sums.len()).map(one).collect();
            }
            Draw::Repeated(factors, length) => {
                // The fractional part is the probability of one more repetition.
                let times = |factor: f64, random: &mut Random| {
                    factor as usize + usize::from(random.probability(factor.fract()))
                };
                let mut order: Vec<usize> = Vec::with_capacity(*length);
                for (index, &factor) in factors.iter().enumerate() {
                    order.extend(std::iter::repeat_n(index, times(factor, random)));
                }
                random.shuffle(&mut order);
                // All epochs have the same length, so that the number of steps is known.
                let more: Vec<usize> = order.iter().cycle().copied().take(*length).collect();
                return more;
            }
        };
        random.shuffle(&mut order);
        order
    }

    /// Full batches of one orientation in the order in which they fill up, then the remaining
    /// records of both.
    fn grouped(&self, order: &[usize]) -> Vec<usize> {
        let size = self.options.batch_size;
        let mut waiting: [Vec<usize>; 2] = Default::default();
        let mut grouped = Vec::with_capacity(order.len());
        for &index in order {
            let portrait = self.portrait.get(index).copied().unwrap_or(false);
            let [landscape, portraits] = &mut waiting;
            let group = if portrait { portraits } else { landscape };
            group.push(index);
            if group.len() == size {
                grouped.append(group);
            }
        }
        grouped.extend(waiting.concat());
        grouped
    }
}

/// The distinct classes of each record, sorted.
fn classes(source: &dyn Source) -> Result<Vec<Vec<i64>>> {
    let of_record = |index| {
        let mut classes = source.meta(index)?.classes.into_vec();
        classes.sort_unstable();
        classes.dedup();
        classes.shrink_to_fit();
        Ok(classes)
    };
    (0..source.len()).map(of_record).collect()
}

/// The number of records of each class, and the number of records without any class.
fn counts(records: &[Vec<i64>]) -> (HashMap<i64, usize>, usize) {
    let mut counts = HashMap::new();
    for class in records.iter().flatten() {
        *counts.entry(*class).or_default() += 1;
    }
    (
        counts,
        records.iter().filter(|classes| classes.is_empty()).count(),
    )
}

/// A record's weight: the reciprocal of the number of records with its rarest class.
fn balanced(records: &[Vec<i64>]) -> Vec<f64> {
    let (counts, without) = counts(records);
    let weight = |classes: &Vec<i64>| {
        let rarest = classes.iter().filter_map(|c| counts.get(c)).min();
        1.0 / rarest.copied().unwrap_or(without).max(1) as f64
    };
    records.iter().map(weight).collect()
}

/// Gupta et al. 2019, "LVIS", section 4.1: `max(1, sqrt(threshold / f))` for the rarest class of a
/// record, where `f` is the fraction of the records with that class.
fn repeat_factors(records: &[Vec<i64>], threshold: f64) -> Vec<f64> {
    let (counts, _) = counts(records);
    let factor = |classes: &Vec<i64>| {
        let rarest = classes.iter().filter_map(|c| counts.get(c)).min();
        let fraction = rarest.copied().unwrap_or(records.len()) as f64 / records.len().max(1) as f64;
        (threshold / fraction).sqrt().max(1.0)
    };
    records.iter().map(factor).collect()
}

fn cumulative(weights: &[f64]) -> Vec<f64> {
    let mut sum = 0.0;
    let add = |weight: &f64| {
        sum += weight;
        sum
    };
    weights.iter().map(add).collect()
}

fn is_portrait(source: &dyn Source, index: usize) -> Result<bool> {
    let meta = source.meta(index)?;
    if meta.width > 0 && meta.height > 0 {
        return Ok(meta.height > meta.width);
    }
    let record = source.record(index)?;
    // An unreadable image is reported when it is loaded.
    let size = record.images.first().and_then(|image| decode::size(image).ok());
    Ok(size.is_some_and(|(width, height)| height > width))
}

#[cfg(test)]
mod tests;

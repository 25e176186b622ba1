//! The order of an epoch: which records come, how often, and which share a batch. Seed and epoch alone decide it.

use crate::random::Random;
use crate::{Source, decode};
use cvhost::config::{LastBatch, Sampling};
use cvhost::error::Result;
use std::collections::HashMap;

/// How records become batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OrderOptions {
    /// Samples a batch; at least 1.
    pub batch_size: usize,
    /// Shuffles every epoch anew, by seed and epoch. `None`: the records' own order, each once.
    pub shuffle_seed: Option<u64>,
    /// Which records come more often than others; only with a seed.
    pub sampling: Sampling,
    /// Of [`Sampling::RepeatFactor`]: a class that fewer than this part of the records have is repeated.
    pub repeat_threshold: f64,
    /// Whether upright and wide images get batches of their own, so that less is padded.
    pub group_by_aspect_ratio: bool,
    pub last_batch: LastBatch,
}

impl Default for OrderOptions {
    /// One record a batch, in order.
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

/// What the order of every epoch is drawn from.
#[derive(Debug)]
pub struct Order {
    options: OrderOptions,
    draw: Draw,
    /// Whether each record's image is higher than wide; empty without grouping.
    upright: Vec<bool>,
}

#[derive(Debug)]
enum Draw {
    /// Each of so many records once.
    Each(usize),
    /// As many draws as there are records, each by chance; the weights added up.
    Weighted(Vec<f64>),
    /// How often each record comes on average, and how many records an epoch has.
    Repeated(Vec<f64>, usize),
}

impl Order {
    /// Reads what the options need of each record: its classes, its size. A size that the annotations don't say is read from
    /// the image's header.
    pub fn new(source: &dyn Source, mut options: OrderOptions) -> Result<Self> {
        options.batch_size = options.batch_size.max(1);
        let count = source.len();
        let sampling = options
            .shuffle_seed
            .map_or(Sampling::Natural, |_| options.sampling);
        let draw = match sampling {
            Sampling::Natural => Draw::Each(count),
            Sampling::ClassBalanced => Draw::Weighted(added_up(&balanced(&classes(source)?))),
            Sampling::RepeatFactor => {
                let factors = repeat_factors(&classes(source)?, options.repeat_threshold);
                let length = factors.iter().sum::<f64>().round() as usize;
                Draw::Repeated(factors, length)
            }
        };
        let upright = if options.group_by_aspect_ratio {
            (0..count).map(|i| is_upright(source, i)).collect::<Result<_>>()?
        } else {
            Vec::new()
        };
        Ok(Order {
            options,
            draw,
            upright,
        })
    }

    /// Batches an epoch, the same number in each.
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

    /// The indices of an epoch's records; each `batch_size` in a row are a batch.
    pub fn of_epoch(&self, epoch: u64) -> Vec<usize> {
        let mut order = match self.options.shuffle_seed {
            None => (0..self.records()).collect(),
            Some(seed) => self.drawn(&mut Random::new(seed, epoch, Random::ORDER)),
        };
        if !self.upright.is_empty() {
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
                // The part after the point decides by chance whether there is one more.
                let times = |factor: f64, random: &mut Random| {
                    factor as usize + usize::from(random.probability(factor.fract()))
                };
                let mut order: Vec<usize> = Vec::with_capacity(*length);
                for (index, &factor) in factors.iter().enumerate() {
                    order.extend(std::iter::repeat_n(index, times(factor, random)));
                }
                random.shuffle(&mut order);
                // Each epoch has equally many, so that the number of steps is known.
                let more: Vec<usize> = order.iter().cycle().copied().take(*length).collect();
                return more;
            }
        };
        random.shuffle(&mut order);
        order
    }

    /// Full batches of one orientation in the order in which they fill up, then what is left of both.
    fn grouped(&self, order: &[usize]) -> Vec<usize> {
        let size = self.options.batch_size;
        let mut waiting: [Vec<usize>; 2] = Default::default();
        let mut grouped = Vec::with_capacity(order.len());
        for &index in order {
            let upright = self.upright.get(index).copied().unwrap_or(false);
            let [wide, high] = &mut waiting;
            let group = if upright { high } else { wide };
            group.push(index);
            if group.len() == size {
                grouped.append(group);
            }
        }
        grouped.extend(waiting.concat());
        grouped
    }
}

/// The different classes of each record, sorted.
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

/// How many records have each class; those without any count as a class of their own.
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

/// A record's weight: one over the number of records with its rarest class.
fn balanced(records: &[Vec<i64>]) -> Vec<f64> {
    let (counts, without) = counts(records);
    let weight = |classes: &Vec<i64>| {
        let rarest = classes.iter().filter_map(|c| counts.get(c)).min();
        1.0 / rarest.copied().unwrap_or(without).max(1) as f64
    };
    records.iter().map(weight).collect()
}

/// Gupta et al. 2019, "LVIS", section 4.1: `max(1, sqrt(threshold / f))` for the rarest class of a record, where `f` is the
/// part of the records that have the class.
fn repeat_factors(records: &[Vec<i64>], threshold: f64) -> Vec<f64> {
    let (counts, _) = counts(records);
    let factor = |classes: &Vec<i64>| {
        let rarest = classes.iter().filter_map(|c| counts.get(c)).min();
        let part = rarest.copied().unwrap_or(records.len()) as f64 / records.len().max(1) as f64;
        (threshold / part).sqrt().max(1.0)
    };
    records.iter().map(factor).collect()
}

fn added_up(weights: &[f64]) -> Vec<f64> {
    let mut sum = 0.0;
    let add = |weight: &f64| {
        sum += weight;
        sum
    };
    weights.iter().map(add).collect()
}

fn is_upright(source: &dyn Source, index: usize) -> Result<bool> {
    let meta = source.meta(index)?;
    if meta.width > 0 && meta.height > 0 {
        return Ok(meta.height > meta.width);
    }
    let record = source.record(index)?;
    // An image that can't be read is told when it is its turn.
    let size = record.images.first().and_then(|image| decode::size(image).ok());
    Ok(size.is_some_and(|(width, height)| height > width))
}

#[cfg(test)]
mod tests;

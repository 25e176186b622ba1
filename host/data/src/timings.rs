//! Where the loader's time goes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A part of the work on a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The task plugin's record.
    Record,
    /// Reading the file and decoding it.
    Decode,
    Augment,
    /// The adapter's `prepare`, padding included.
    Prepare,
}

impl Stage {
    pub const ALL: [Stage; 4] = [Stage::Record, Stage::Decode, Stage::Augment, Stage::Prepare];

    /// As reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Record => "record",
            Stage::Decode => "decode",
            Stage::Augment => "augment",
            Stage::Prepare => "prepare",
        }
    }
}

/// Time spent in each stage, by all threads together.
#[derive(Debug, Default)]
pub struct Timings([AtomicU64; 4]);

impl Timings {
    pub(crate) fn measured<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        if let Some(sum) = self.0.get(stage as usize) {
            sum.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
        result
    }

    /// The time so far.
    pub fn of(&self, stage: Stage) -> Duration {
        let sum = self.0.get(stage as usize);
        Duration::from_nanos(sum.map_or(0, |sum| sum.load(Ordering::Relaxed)))
    }
}

//! Where the loader's time goes.

use std::sync::OnceLock;
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

/// Called on the thread that did the work, with its begin and end.
type Observer = dyn Fn(Stage, Instant, Instant) + Send + Sync;

/// Time spent in each stage, by all threads together.
#[derive(Default)]
pub struct Timings {
    nanoseconds: [AtomicU64; 4],
    observer: OnceLock<Box<Observer>>,
}

impl Timings {
    pub(crate) fn measured<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        let ended = Instant::now();
        if let Some(sum) = self.nanoseconds.get(stage as usize) {
            sum.fetch_add((ended - started).as_nanos() as u64, Ordering::Relaxed);
        }
        if let Some(observer) = self.observer.get() {
            observer(stage, started, ended);
        }
        result
    }

    /// From here on `observer` is told of each piece of work; the first one stays.
    pub fn observe(&self, observer: impl Fn(Stage, Instant, Instant) + Send + Sync + 'static) {
        let _ = self.observer.set(Box::new(observer));
    }

    /// The time so far.
    pub fn of(&self, stage: Stage) -> Duration {
        let sum = self.nanoseconds.get(stage as usize);
        Duration::from_nanos(sum.map_or(0, |sum| sum.load(Ordering::Relaxed)))
    }
}

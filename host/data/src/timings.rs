//! Time spent in the stages of the loader.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A stage of processing a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reading the record from the task plugin.
    Record,
    /// Reading the file and decoding it.
    Decode,
    Augment,
    /// The adapter's `prepare`, padding included.
    Prepare,
}

impl Stage {
    pub const ALL: [Stage; 4] = [Stage::Record, Stage::Decode, Stage::Augment, Stage::Prepare];

    /// The name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Record => "record",
            Stage::Decode => "decode",
            Stage::Augment => "augment",
            Stage::Prepare => "prepare",
        }
    }
}

/// Called on the thread that did the work, with its start and end.
type Observer = dyn Fn(Stage, Instant, Instant) + Send + Sync;

/// Time spent in each stage, summed over all threads.
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

    /// Calls `observer` for each measured piece of work from now on. Only the first observer is
    /// retained.
    pub fn observe(&self, observer: impl Fn(Stage, Instant, Instant) + Send + Sync + 'static) {
        let _ = self.observer.set(Box::new(observer));
    }

    /// The total time so far.
    pub fn of(&self, stage: Stage) -> Duration {
        let sum = self.nanoseconds.get(stage as usize);
        Duration::from_nanos(sum.map_or(0, |sum| sum.load(Ordering::Relaxed)))
    }
}

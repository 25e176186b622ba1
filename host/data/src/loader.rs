//! Loads batches ahead of time, in an order that doesn't depend on the number of workers.

mod making;

use crate::augment::Augmentations;
use crate::broken::BrokenRecords;
use crate::cache::ImageCache;
use crate::mix::Mixing;
use crate::order::{Order, OrderOptions};
use crate::pool::Pool;
use crate::timings::Timings;
use crate::{HostBatch, Source};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use cvhost::config::BrokenFiles;
use cvhost::error::{Error, Result};
use cvhost_plugin_api::abi::InputBox;
use cvhost_plugin_api::data::{Fields, Sample};
use making::Plan;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Options of a [`Loader`].
#[derive(Debug, Clone, PartialEq)]
pub struct LoaderOptions {
    /// How records are ordered and batched. Its seed also determines the random augmentations.
    pub order: OrderOptions,
    /// Number of worker threads. With 0, each batch is built on demand on the caller's thread.
    pub threads: usize,
    /// Maximum number of batches in flight or waiting, at least 1. Workers beyond this number are
    /// idle.
    pub prefetch: usize,
    /// Random augmentations, drawn from the order's seed (0 if there is none), the epoch and the
    /// record.
    pub augment: Option<Augmentations>,
    /// Mixing of pairs of samples, drawn from the order's seed (0 if there is none), the epoch and
    /// the batch.
    pub mixing: Option<Mixing>,
    /// Whether the targets are for training; passed to the adapter with each sample.
    pub train: bool,
    /// Whether the records are for prediction and have no targets. Fields that the adapter didn't
    /// prepare are then omitted.
    pub predict: bool,
    /// Whether a batch retains its records' own targets, which only an evaluator reads.
    pub keep_targets: bool,
    pub broken_files: BrokenFiles,
    /// Size of the cache of decoded images, in bytes.
    pub cache: usize,
    /// Whether large JPEGs are decoded at a reduced size if the model's input is smaller; only for
    /// training.
    pub scaled_decode: bool,
    /// Maximum time for one batch, after which the workers are considered stuck. `None` means no
    /// limit.
    pub timeout: Option<Duration>,
}

impl Default for LoaderOptions {
    /// Evaluation: in order, without augmentation, one sample per batch, on the caller's thread.
    fn default() -> Self {
        LoaderOptions {
            order: OrderOptions::default(),
            threads: 0,
            prefetch: 1,
            augment: None,
            mixing: None,
            train: false,
            predict: false,
            keep_targets: true,
            broken_files: BrokenFiles::Error,
            cache: 0,
            scaled_decode: false,
            timeout: None,
        }
    }
}

/// Loads the batches of a split, epoch after epoch.
#[derive(Clone)]
pub struct Loader {
    shared: Arc<Shared>,
    /// The epoch from which augmentation is off.
    unchanged_from: Option<u64>,
    shard: Shard,
}

/// The batches assigned to one of several processes.
#[derive(Debug, Clone, Copy)]
struct Shard {
    rank: usize,
    size: usize,
    /// Whether all ranks get the same number of batches; the remaining batches are dropped.
    even: bool,
}

impl Shard {
    const ALL: Shard = Shard {
        rank: 0,
        size: 1,
        even: true,
    };

    /// The number of batches, out of `batches`, that are assigned to this rank.
    fn count(self, batches: usize) -> usize {
        let rest = batches % self.size;
        batches / self.size + usize::from(!self.even && self.rank < rest)
    }

    /// The global number of this rank's batch `index`.
    fn number(self, index: usize) -> usize {
        index * self.size + self.rank
    }
}

/// State shared by all workers.
struct Shared {
    source: Arc<dyn Source>,
    input: Arc<InputBox>,
    /// Input processors for other sizes; each batch uses one of them at random. If empty, all
    /// batches use `input`.
    sizes: Vec<Arc<InputBox>>,
    options: LoaderOptions,
    order: Order,
    pool: Arc<Pool>,
    cache: Option<ImageCache>,
    broken: BrokenRecords,
    timings: Timings,
}

impl Loader {
    /// # Errors
    /// If the order needs record metadata that the source doesn't provide.
    pub fn new(source: Arc<dyn Source>, input: Arc<InputBox>, options: LoaderOptions) -> Result<Self> {
        Self::with_sizes(source, input, Vec::new(), options)
    }

    /// Like [`Loader::new`], but with input processors for several sizes: each batch uses one of
    /// them, drawn from the seed, the epoch and the batch.
    pub fn with_sizes(
        source: Arc<dyn Source>,
        input: Arc<InputBox>,
        sizes: Vec<Arc<InputBox>>,
        mut options: LoaderOptions,
    ) -> Result<Self> {
        options.prefetch = options.prefetch.max(1);
        Ok(Loader {
            unchanged_from: None,
            shard: Shard::ALL,
            shared: Arc::new(Shared {
                order: Order::new(source.as_ref(), options.order)?,
                // The main input and the mask of each waiting batch, and of those in use by the
                // model.
                pool: Pool::new(2 * (options.prefetch + 2)),
                cache: (options.cache > 0).then(|| ImageCache::new(options.cache)),
                broken: BrokenRecords::default(),
                timings: Timings::default(),
                source,
                input,
                sizes,
                options,
            }),
        })
    }

    /// Returns this loader with augmentation turned off from `epoch` on.
    #[must_use]
    pub fn unchanged_from(mut self, epoch: u64) -> Self {
        self.unchanged_from = Some(epoch);
        self
    }

    /// Returns this loader restricted to process `rank` of `size`: it takes every `size`-th batch
    /// of an epoch. With `even`, all processes get the same number of batches, and the remaining
    /// ones are dropped.
    #[must_use]
    pub fn sharded(mut self, rank: usize, size: usize, even: bool) -> Self {
        self.shard = Shard {
            rank,
            size: size.max(1),
            even,
        };
        self
    }

    fn plan(&self, epoch: u64) -> Plan {
        let changes = self.unchanged_from.is_none_or(|end| epoch < end);
        Plan::new(&self.shared, epoch, changes)
    }

    /// The number of batches per epoch.
    pub fn batches(&self) -> usize {
        self.shard.count(self.shared.order.batches())
    }

    /// The records skipped so far because their images can't be read.
    pub fn broken(&self) -> &BrokenRecords {
        &self.shared.broken
    }

    /// Time spent so far by the workers in each stage.
    pub fn timings(&self) -> &Timings {
        &self.shared.timings
    }

    /// The record indices in the order of the given epoch.
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        self.shared.order.of_epoch(epoch)
    }

    /// The sample of record `index` as augmented in that epoch, and the record's own unmodified
    /// fields.
    pub fn sample(&self, epoch: u64, index: usize) -> Result<(Sample, Fields)> {
        self.plan(epoch).sample(index)
    }

    /// The batches of an epoch, starting at batch `skip`. A resumed epoch continues where it
    /// stopped, with identical batches.
    ///
    /// The iterator ends after an error, which names the record and the file. Dropping it stops the
    /// workers after the sample they are processing, without waiting for them.
    pub fn epoch(&self, epoch: u64, skip: usize) -> Batches {
        let plan = self.plan(epoch);
        let end = self.batches();
        let maker = if self.shared.options.threads == 0 {
            Maker::Inline(plan)
        } else {
            Maker::start(plan)
        };
        let mut batches = Batches {
            maker,
            shard: self.shard,
            next: skip.min(end),
            requested: skip.min(end),
            end,
        };
        batches.request_ahead();
        batches
    }
}

type Made = (usize, Result<Option<HostBatch>>);

enum Maker {
    Inline(Plan),
    Threads {
        /// Numbers of the batches to build. Dropping it stops the workers.
        jobs: Option<Sender<usize>>,
        made: Receiver<Made>,
        /// Batches that finished out of order.
        early: BTreeMap<usize, Result<Option<HostBatch>>>,
        prefetch: usize,
        stop: Arc<AtomicBool>,
        plan: Plan,
    },
    /// A worker couldn't be started; the error is returned once.
    Failed(Option<Error>),
}

impl Maker {
    fn start(plan: Plan) -> Self {
        // Unbounded channels are fine: at most `prefetch` jobs are outstanding, and workers never
        // block on sending.
        let (jobs, todo) = unbounded::<usize>();
        let (done, made) = unbounded::<Made>();
        let stop = Arc::new(AtomicBool::new(false));
        let options = plan.options();
        let prefetch = options.prefetch;
        for number in 0..options.threads.min(prefetch) {
            let (plan, todo, done, stop) = (plan.clone(), todo.clone(), done.clone(), Arc::clone(&stop));
            let started = thread::Builder::new()
                .name(format!("loader-{number}"))
                .spawn(move || {
                    for batch in todo {
                        let result = plan.make(batch, &stop);
                        if stop.load(Ordering::Relaxed) || done.send((batch, result)).is_err() {
                            return;
                        }
                    }
                });
            if let Err(error) = started {
                let message = format!("cannot start loader worker {number}: {error}");
                return Maker::Failed(Some(
                    Error::environment(message).with_help("lower data.num_workers"),
                ));
            }
        }
        Maker::Threads {
            jobs: Some(jobs),
            made,
            early: BTreeMap::new(),
            prefetch,
            stop,
            plan,
        }
    }
}

/// The batches of one epoch in order; see [`Loader::epoch`].
pub struct Batches {
    maker: Maker,
    /// Selects this rank's batches of the epoch; the fields below count within them.
    shard: Shard,
    /// The batch returned next.
    next: usize,
    /// The first batch that hasn't been assigned to a worker.
    requested: usize,
    end: usize,
}

impl Batches {
    /// Sends jobs until `prefetch` batches are in flight or waiting.
    fn request_ahead(&mut self) {
        if let Maker::Threads {
            jobs: Some(jobs),
            prefetch,
            ..
        } = &self.maker
        {
            while self.requested < self.end
                && self.requested < self.next + *prefetch
                && jobs.send(self.shard.number(self.requested)).is_ok()
            {
                self.requested += 1;
            }
        }
    }

    /// Waits for the batch with that number; `None` if none of its records can be read.
    fn wait_for(&mut self, number: usize) -> Result<Option<HostBatch>> {
        match &mut self.maker {
            Maker::Inline(plan) => plan.make(number, &AtomicBool::new(false)),
            Maker::Failed(error) => error.take().map_or(Ok(None), Err),
            Maker::Threads {
                made, early, plan, ..
            } => {
                let deadline = plan.options().timeout.map(|timeout| Instant::now() + timeout);
                loop {
                    if let Some(result) = early.remove(&number) {
                        return result;
                    }
                    let received = match deadline {
                        Some(deadline) => made.recv_deadline(deadline),
                        None => made.recv().map_err(|_| RecvTimeoutError::Disconnected),
                    };
                    match received {
                        Ok((which, result)) => early.insert(which, result),
                        Err(RecvTimeoutError::Timeout) => return Err(plan.stuck(number)),
                        Err(RecvTimeoutError::Disconnected) => {
                            return Err(Error::failed("the loader's workers exited early"));
                        }
                    };
                }
            }
        }
    }
}

impl Iterator for Batches {
    type Item = Result<HostBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.next < self.end {
            match self.wait_for(self.shard.number(self.next)) {
                Ok(batch) => {
                    self.next += 1;
                    self.request_ahead();
                    if batch.is_some() {
                        return batch.map(Ok);
                    }
                }
                Err(error) => {
                    self.stop();
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl Batches {
    /// Ends the iterator and stops its workers; unfinished batches are discarded.
    fn stop(&mut self) {
        self.end = self.next;
        if let Maker::Threads {
            jobs, stop, early, ..
        } = &mut self.maker
        {
            stop.store(true, Ordering::Relaxed);
            *jobs = None;
            early.clear();
        }
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod contract_tests;
#[cfg(test)]
mod tests;

//! Batches ahead of time, in an order that doesn't depend on how many threads make them.

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

/// How a [`Loader`] works.
#[derive(Debug, Clone, PartialEq)]
pub struct LoaderOptions {
    /// Which records make which batch. Its seed draws the changes of images, too.
    pub order: OrderOptions,
    /// Threads that make batches; 0 makes each when it is asked for, on the caller's thread.
    pub threads: usize,
    /// The most batches that are in the making or wait, at least 1. No more threads than this have work.
    pub prefetch: usize,
    /// Changes at random, drawn by the order's seed (0 without one), epoch and record.
    pub augment: Option<Augmentations>,
    /// Two samples mixed into one, drawn by the order's seed (0 without one), epoch and batch.
    pub mixing: Option<Mixing>,
    /// What samples say to the adapter: whether targets are for training.
    pub train: bool,
    /// Whether the records are to be predicted and have no targets: what an adapter didn't prepare is then left out.
    pub predict: bool,
    /// Whether a batch keeps its records' own targets, which only an evaluator reads.
    pub keep_targets: bool,
    pub broken_files: BrokenFiles,
    /// Bytes of decoded images that are kept for the next epochs.
    pub cache: usize,
    /// Large JPEGs are decoded smaller where the model's input is; only for training.
    pub scaled_decode: bool,
    /// So long one batch may take; then the threads are taken for stuck. `None` waits for ever.
    pub timeout: Option<Duration>,
}

impl Default for LoaderOptions {
    /// Evaluation: in order, nothing changed, one sample a batch on the caller's thread.
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

/// Makes the batches of a split, epoch after epoch.
#[derive(Clone)]
pub struct Loader {
    shared: Arc<Shared>,
    /// From this epoch on nothing is changed at random.
    unchanged_from: Option<u64>,
    shard: Shard,
}

/// The batches that one of several processes takes.
#[derive(Debug, Clone, Copy)]
struct Shard {
    rank: usize,
    size: usize,
    /// Whether all ranks take equally many; what remains is left out.
    even: bool,
}

impl Shard {
    const ALL: Shard = Shard {
        rank: 0,
        size: 1,
        even: true,
    };

    /// How many of `batches` batches the rank takes.
    fn count(self, batches: usize) -> usize {
        let rest = batches % self.size;
        batches / self.size + usize::from(!self.even && self.rank < rest)
    }

    /// The number of the rank's batch `index` among all.
    fn number(self, index: usize) -> usize {
        index * self.size + self.rank
    }
}

/// What all threads read.
struct Shared {
    source: Arc<dyn Source>,
    input: Arc<InputBox>,
    /// Input sides for other sizes: each batch takes one of them by chance. None: all take `input`.
    sizes: Vec<Arc<InputBox>>,
    options: LoaderOptions,
    order: Order,
    pool: Arc<Pool>,
    cache: Option<ImageCache>,
    broken: BrokenRecords,
    timings: Timings,
}

impl Loader {
    /// Fails where the order needs to know something of the records, and the source doesn't give it.
    pub fn new(source: Arc<dyn Source>, input: Arc<InputBox>, options: LoaderOptions) -> Result<Self> {
        Self::with_sizes(source, input, Vec::new(), options)
    }

    /// As [`Loader::new`], with input sides for several sizes: each batch takes one of them, drawn by seed, epoch and batch.
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
                // Main input and mask of each batch that waits, and of those that the model has.
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

    /// This loader with nothing changed at random from `epoch` on.
    #[must_use]
    pub fn unchanged_from(mut self, epoch: u64) -> Self {
        self.unchanged_from = Some(epoch);
        self
    }

    /// This loader for process `rank` of `size`: it takes each `size`-th batch of an epoch. With `even`
    /// every process takes equally many, and the batches that remain are left out.
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

    /// Batches an epoch.
    pub fn batches(&self) -> usize {
        self.shard.count(self.shared.order.batches())
    }

    /// The records that were skipped so far because their images can't be read.
    pub fn broken(&self) -> &BrokenRecords {
        &self.shared.broken
    }

    /// Where the threads' time went so far.
    pub fn timings(&self) -> &Timings {
        &self.shared.timings
    }

    /// The records' indices in the order in which an epoch takes them.
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        self.shared.order.of_epoch(epoch)
    }

    /// The sample of record `index` as that epoch's training sees it, and the record's own fields as they were.
    pub fn sample(&self, epoch: u64, index: usize) -> Result<(Sample, Fields)> {
        self.plan(epoch).sample(index)
    }

    /// The batches of an epoch, from batch `skip` on: a resumed epoch goes on where it stopped, with the same batches.
    ///
    /// After an error, which names record and file, the iterator ends. Dropping it stops the threads after the sample in
    /// work, without waiting for them.
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
            asked: skip.min(end),
            end,
        };
        batches.ask_ahead();
        batches
    }
}

type Made = (usize, Result<Option<HostBatch>>);

enum Maker {
    Inline(Plan),
    Threads {
        /// Batches to make. Dropping it ends the threads.
        jobs: Option<Sender<usize>>,
        made: Receiver<Made>,
        /// Batches that came before their turn.
        early: BTreeMap<usize, Result<Option<HostBatch>>>,
        prefetch: usize,
        stop: Arc<AtomicBool>,
        plan: Plan,
    },
    /// A thread couldn't be started; told once.
    Failed(Option<Error>),
}

impl Maker {
    fn start(plan: Plan) -> Self {
        // Unbounded: no more jobs are ever given out than `prefetch`, so nothing piles up, and no thread ever blocks on
        // handing over.
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
                let message = format!("cannot start loader thread {number}: {error}");
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
    /// Which batches of the epoch these are; the fields below count within them.
    shard: Shard,
    /// The batch that is handed out next.
    next: usize,
    /// The first batch that hasn't been given to a thread.
    asked: usize,
    end: usize,
}

impl Batches {
    /// Gives out jobs until `prefetch` batches are in the making or wait.
    fn ask_ahead(&mut self) {
        if let Maker::Threads {
            jobs: Some(jobs),
            prefetch,
            ..
        } = &self.maker
        {
            while self.asked < self.end
                && self.asked < self.next + *prefetch
                && jobs.send(self.shard.number(self.asked)).is_ok()
            {
                self.asked += 1;
            }
        }
    }

    /// The batch of that number; nothing where none of its records can be read.
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
                            return Err(Error::failed("the loader's threads have ended early"));
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
                    self.ask_ahead();
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
    /// Ends the iterator and its threads; batches in the making are thrown away.
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

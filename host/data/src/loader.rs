//! Batches ahead of time, in an order that doesn't depend on how many threads make them.

use crate::augment::{self, Augmentations};
use crate::mix::{Mixing, mix};
use crate::random::Random;
use crate::{HostBatch, Source, collate, decode};
use crossbeam_channel::{Receiver, Sender, unbounded};
use cvhost::error::{Error, Result};
use cvhost::plugin_error::from_plugin;
use cvhost_plugin_api::abi::InputBox;
use cvhost_plugin_api::data::{Fields, Sample};
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// How a [`Loader`] works.
#[derive(Debug, Clone, PartialEq)]
pub struct LoaderOptions {
    /// Samples a batch; at least 1.
    pub batch_size: usize,
    /// Threads that make batches; 0 makes each when it is asked for, on the caller's thread.
    pub threads: usize,
    /// The most batches that are in the making or wait, at least 1. No more threads than this have work.
    pub prefetch: usize,
    /// Shuffles every epoch anew, by seed and epoch. `None`: the records' own order.
    pub shuffle_seed: Option<u64>,
    /// Changes at random, drawn by `shuffle_seed` (0 without one), epoch and record.
    pub augment: Option<Augmentations>,
    /// Two samples mixed into one, drawn by `shuffle_seed` (0 without one), epoch and batch.
    pub mixing: Option<Mixing>,
    /// What samples say to the adapter: whether targets are for training.
    pub train: bool,
    /// Whether the records are to be predicted and have no targets: what an adapter didn't prepare is then left out.
    pub predict: bool,
    /// Whether the last batch is left out when it has fewer samples than the others.
    pub drop_last: bool,
}

impl Default for LoaderOptions {
    /// Evaluation: in order, nothing changed, one sample a batch on the caller's thread.
    fn default() -> Self {
        LoaderOptions {
            batch_size: 1,
            threads: 0,
            prefetch: 1,
            shuffle_seed: None,
            augment: None,
            mixing: None,
            train: false,
            predict: false,
            drop_last: false,
        }
    }
}

/// Makes the batches of a split, epoch after epoch.
#[derive(Clone)]
pub struct Loader {
    shared: Arc<Shared>,
}

/// What all threads read.
struct Shared {
    source: Arc<dyn Source>,
    input: Arc<InputBox>,
    options: LoaderOptions,
}

impl Loader {
    pub fn new(source: Arc<dyn Source>, input: Arc<InputBox>, mut options: LoaderOptions) -> Self {
        options.batch_size = options.batch_size.max(1);
        options.prefetch = options.prefetch.max(1);
        Loader {
            shared: Arc::new(Shared {
                source,
                input,
                options,
            }),
        }
    }

    /// Batches an epoch.
    pub fn batches(&self) -> usize {
        let (samples, size) = (self.shared.source.len(), self.shared.options.batch_size);
        if self.shared.options.drop_last {
            samples / size
        } else {
            samples.div_ceil(size)
        }
    }

    /// The batches of an epoch, from batch `skip` on: a resumed epoch goes on where it stopped, with the same batches.
    ///
    /// After an error, which names record and file, the iterator ends. Dropping it stops the threads after the sample in
    /// work, without waiting for them.
    pub fn epoch(&self, epoch: u64, skip: usize) -> Batches {
        let plan = Plan {
            shared: Arc::clone(&self.shared),
            order: self.shared.order(epoch).into(),
            epoch,
        };
        let end = self.batches();
        let maker = if self.shared.options.threads == 0 {
            Maker::Inline(plan)
        } else {
            Maker::start(plan)
        };
        let mut batches = Batches {
            maker,
            next: skip.min(end),
            asked: skip.min(end),
            end,
        };
        batches.ask_ahead();
        batches
    }
}

impl Shared {
    /// The records' indices in the epoch's order.
    fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.source.len()).collect();
        if let Some(seed) = self.options.shuffle_seed {
            Random::new(seed, epoch, Random::ORDER).shuffle(&mut order);
        }
        order
    }
}

/// One epoch's work, as every thread knows it.
#[derive(Clone)]
struct Plan {
    shared: Arc<Shared>,
    order: Arc<[usize]>,
    epoch: u64,
}

impl Plan {
    /// Makes batch `number`, or nothing where `stop` is set meanwhile. A panic on the way becomes an error.
    fn make(&self, number: usize, stop: &AtomicBool) -> Result<Option<HostBatch>> {
        catch_unwind(AssertUnwindSafe(|| self.make_unguarded(number, stop))).unwrap_or_else(|payload| {
            Err(Error::failed(format!(
                "making batch {number} panicked: {}",
                message_of(payload.as_ref())
            ))
            .with_help("this is a mistake in cvhost or in a plugin; please report it"))
        })
    }

    fn make_unguarded(&self, number: usize, stop: &AtomicBool) -> Result<Option<HostBatch>> {
        let size = self.shared.options.batch_size;
        let start = number * size;
        let indices = self
            .order
            .get(start..(start + size).min(self.order.len()))
            .unwrap_or_default();
        let mut samples = Vec::with_capacity(indices.len());
        let mut targets = Vec::with_capacity(indices.len());
        for &index in indices {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let (sample, own) = self.sample(index)?;
            samples.push(sample);
            targets.push(own);
        }
        let mut batch = collate(&self.shared.input, &samples, targets, self.shared.options.predict)?;
        if let Some(mixing) = self.shared.options.mixing {
            let seed = self.shared.options.shuffle_seed.unwrap_or(0);
            mix(
                &mut batch,
                mixing,
                &mut Random::of_batch(seed, self.epoch, number),
            )?;
        }
        Ok(Some(batch))
    }

    /// The sample of a record, and the record's own fields as they were.
    fn sample(&self, index: usize) -> Result<(Sample, Fields)> {
        let Shared {
            source,
            input,
            options,
        } = self.shared.as_ref();
        let mut sample = self.decoded(index)?;
        let fields = sample.fields.clone();
        if let Some(augmentations) = &options.augment {
            let mut random = Random::new(options.shuffle_seed.unwrap_or(0), self.epoch, index as u64);
            let input_size = |width, height| {
                let shape = input
                    .shape(width, height, options.train)
                    .into_result()
                    .map_err(from_plugin)?;
                Ok(shape.dims.iter().rev().take(2).min().copied().unwrap_or(0))
            };
            let partner = |random: &mut Random| self.decoded(random.below(source.len()));
            let context = augment::Context {
                input_edge: &input_size,
                partner: &partner,
            };
            augment::apply(&mut sample, augmentations, &mut random, &context)
                .map_err(|e| e.within(sample.name.as_str()))?;
        }
        Ok((sample, fields))
    }

    /// The sample of a record as it is.
    fn decoded(&self, index: usize) -> Result<Sample> {
        let Shared { source, options, .. } = self.shared.as_ref();
        let record = source
            .record(index)
            .map_err(|e| e.within(format!("record {index}")))?;
        let name = if record.name.is_empty() {
            format!("record {index}").into()
        } else {
            record.name
        };
        let pictures = record.pictures.iter().map(decode).collect::<Result<Vec<_>>>();
        Ok(Sample {
            index: index as u64,
            pictures: pictures.map_err(|e| e.within(name.as_str()))?.into(),
            name,
            region: record.region,
            fields: record.fields,
            train: options.train,
        })
    }
}

/// What a panic said.
fn message_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
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
        let options = &plan.shared.options;
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
        }
    }
}

/// The batches of one epoch in order; see [`Loader::epoch`].
pub struct Batches {
    maker: Maker,
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
            while self.asked < self.end && self.asked < self.next + *prefetch && jobs.send(self.asked).is_ok()
            {
                self.asked += 1;
            }
        }
    }

    fn wait_for(&mut self, number: usize) -> Option<Result<HostBatch>> {
        match &mut self.maker {
            Maker::Inline(plan) => plan.make(number, &AtomicBool::new(false)).transpose(),
            Maker::Failed(error) => error.take().map(Err),
            Maker::Threads { made, early, .. } => loop {
                if let Some(result) = early.remove(&number) {
                    return result.transpose();
                }
                match made.recv() {
                    Ok((which, result)) => early.insert(which, result),
                    Err(_) => return Some(Err(Error::failed("the loader's threads have ended early"))),
                };
            },
        }
    }
}

impl Iterator for Batches {
    type Item = Result<HostBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let result = self.wait_for(self.next);
        match &result {
            Some(Ok(_)) => {
                self.next += 1;
                self.ask_ahead();
            }
            _ => self.stop(),
        }
        result
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
mod tests;

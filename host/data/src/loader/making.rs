//! How one batch is made: each record decoded, changed, and written into its place.

use super::{LoaderOptions, Shared};
use crate::augment::{self, Augmentations};
use crate::collate::shape_of;
use crate::decode;
use crate::mix::mix;
use crate::random::Random;
use crate::timings::Stage;
use crate::{HostBatch, collate};
use cvhost::config::BrokenFiles;
use cvhost::error::{Error, Kind, Result};
use cvhost_plugin_api::abi::InputBox;
use cvhost_plugin_api::data::{Fields, Picture, PictureSource, Record, Sample};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// So many records in a row may be unreadable before training gives up.
const MOST_BROKEN: usize = 100;

/// One epoch's work, as every thread knows it.
#[derive(Clone)]
pub(super) struct Plan {
    shared: Arc<Shared>,
    order: Arc<[usize]>,
    epoch: u64,
}

impl Plan {
    pub fn new(shared: &Arc<Shared>, epoch: u64) -> Self {
        Plan {
            order: shared.order.of_epoch(epoch).into(),
            shared: Arc::clone(shared),
            epoch,
        }
    }

    pub fn options(&self) -> &LoaderOptions {
        &self.shared.options
    }

    fn seed(&self) -> u64 {
        self.options().order.shuffle_seed.unwrap_or(0)
    }

    /// Makes batch `number`; nothing where `stop` is set meanwhile, or where none of its records can be read. A panic on the
    /// way becomes an error.
    pub fn make(&self, number: usize, stop: &AtomicBool) -> Result<Option<HostBatch>> {
        catch_unwind(AssertUnwindSafe(|| self.make_unguarded(number, stop))).unwrap_or_else(|payload| {
            Err(Error::failed(format!(
                "making batch {number} panicked: {}",
                message_of(payload.as_ref())
            ))
            .with_help("this is a mistake in cvhost or in a plugin; please report it"))
        })
    }

    fn make_unguarded(&self, number: usize, stop: &AtomicBool) -> Result<Option<HostBatch>> {
        let size = self.options().order.batch_size.max(1);
        let positions = number * size..((number + 1) * size).min(self.order.len());
        let mut random = Random::of_batch(self.seed(), self.epoch, number);
        let input = self.input(&mut random);
        let mut samples = Vec::with_capacity(positions.len());
        let mut targets = Vec::with_capacity(positions.len());
        for position in positions {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if let Some((sample, own)) = self.readable(position)? {
                samples.push(sample);
                targets.push(own);
            }
        }
        if samples.is_empty() {
            return Ok(None);
        }
        let timings = &self.shared.timings;
        let mut batch = timings.measured(Stage::Prepare, || {
            collate(
                input,
                &samples,
                targets,
                self.options().predict,
                &self.shared.pool,
            )
        })?;
        if let Some(mixing) = self.options().mixing {
            mix(&mut batch, mixing, &mut random)?;
        }
        Ok(Some(batch))
    }

    /// The input side of a batch: one of several sizes by chance.
    fn input(&self, random: &mut Random) -> &InputBox {
        let Shared { input, sizes, .. } = self.shared.as_ref();
        if sizes.is_empty() {
            return input;
        }
        sizes.get(random.below(sizes.len())).unwrap_or(input)
    }

    /// The sample at a place of the epoch's order. Where its pictures can't be read, and the configuration says to go on: in
    /// training the next record that can be, otherwise nothing.
    fn readable(&self, position: usize) -> Result<Option<(Sample, Fields)>> {
        let skips = self.options().broken_files == BrokenFiles::Skip;
        let tries = if self.options().train {
            MOST_BROKEN.min(self.order.len())
        } else {
            1
        };
        let mut places = (position..self.order.len()).chain(0..position).take(tries);
        loop {
            let Some(&index) = places.next().and_then(|place| self.order.get(place)) else {
                return if self.options().train {
                    Err(Error::input(format!("{tries} pictures in a row can't be read"))
                        .with_help("the warnings name each; mend the files or their paths"))
                } else {
                    Ok(None)
                };
            };
            let record = self.record(index)?;
            match self.pictures(index, &record) {
                Err(error) if skips && error.kind == Kind::Input => self.shared.broken.note(index, &error),
                pictures => return self.changed(index, record, pictures?).map(Some),
            }
        }
    }

    /// The sample of a record, and the record's own fields as they were.
    pub fn sample(&self, index: usize) -> Result<(Sample, Fields)> {
        let record = self.record(index)?;
        let pictures = self.pictures(index, &record)?;
        self.changed(index, record, pictures)
    }

    fn record(&self, index: usize) -> Result<Record> {
        let shared = self.shared.as_ref();
        let mut record = shared
            .timings
            .measured(Stage::Record, || shared.source.record(index))
            .map_err(|e| e.within(format!("record {index}")))?;
        if record.name.is_empty() {
            record.name = format!("record {index}").into();
        }
        Ok(record)
    }

    /// The record's sample, changed at random where the epoch's training wants it.
    fn changed(&self, index: usize, record: Record, pictures: Vec<Picture>) -> Result<(Sample, Fields)> {
        let mut sample = Sample {
            index: index as u64,
            pictures: pictures.into(),
            name: record.name,
            region: record.region,
            fields: record.fields.clone(),
            train: self.options().train,
        };
        if let Some(augmentations) = self.augmentations() {
            self.shared
                .timings
                .measured(Stage::Augment, || self.augment(&mut sample, augmentations))
                .map_err(|e| e.within(sample.name.as_str()))?;
        }
        Ok((sample, record.fields))
    }

    fn pictures(&self, index: usize, record: &Record) -> Result<Vec<Picture>> {
        let one = |(number, source): (usize, &PictureSource)| match &self.shared.cache {
            // What is in memory already needs no second copy.
            Some(cache) if source.decoded.width == 0 => cache.get((index, number), || decode(source)),
            _ => decode(source),
        };
        self.shared
            .timings
            .measured(Stage::Decode, || {
                record.pictures.iter().enumerate().map(one).collect::<Result<_>>()
            })
            .map_err(|e| e.within(record.name.as_str()))
    }

    /// What changes this epoch's pictures at random.
    fn augmentations(&self) -> Option<&Augmentations> {
        let ended = self.options().augment_until.is_some_and(|end| self.epoch >= end);
        self.options().augment.as_ref().filter(|_| !ended)
    }

    fn augment(&self, sample: &mut Sample, augmentations: &Augmentations) -> Result<()> {
        let mut random = Random::new(self.seed(), self.epoch, sample.index);
        let train = sample.train;
        let input_size = |width, height| {
            let shape = shape_of(&self.shared.input, (width, height), train)?;
            Ok(shape.dims.iter().rev().take(2).min().copied().unwrap_or(0))
        };
        augment::apply(sample, augmentations, &mut random, &input_size)
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

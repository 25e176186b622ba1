//! How one batch is made: each record decoded, changed, and written into its place.

use super::{LoaderOptions, Shared};
use crate::augment::{self, Augmentations, shrunk};
use crate::collate::{Assembly, shape_of};
use crate::decode::{Scaled, decode_scaled, recycle};
use crate::mix::mix;
use crate::random::{Random, Use};
use crate::timings::Stage;
use crate::{HostBatch, collate, decode};
use cvhost::config::BrokenFiles;
use cvhost::error::{Error, Kind, Result};
use cvhost_plugin_api::abi::InputBox;
use cvhost_plugin_api::data::{Fields, ImageSource, Record, RecordArgs, Sample, Text};
use std::any::Any;
use std::ops::Range;
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
    /// Whether this epoch's images are changed at random.
    changes: bool,
}

impl Plan {
    pub fn new(shared: &Arc<Shared>, epoch: u64, changes: bool) -> Self {
        Plan {
            order: shared.order.of_epoch(epoch).into(),
            shared: Arc::clone(shared),
            epoch,
            changes,
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

    /// What to say of a batch that took longer than the timeout.
    pub fn stuck(&self, number: usize) -> Error {
        let size = self.options().order.batch_size.max(1);
        let indices = self.order.iter().skip(number * size).take(size);
        let name = |index: &usize| {
            let name = self.shared.source.name(*index);
            name.unwrap_or_else(|_| format!("record {index}"))
        };
        let seconds = self.options().timeout.map_or(0, |timeout| timeout.as_secs());
        Error::failed(format!(
            "no batch came from the loader's threads for {seconds} seconds (data.loader_timeout)"
        ))
        .with_details(indices.map(name).collect())
        .with_expected("each of these images to be read in that time")
        .with_help(
            "look whether the disk that they are on answers, or raise data.loader_timeout; 0 waits for ever",
        )
    }

    fn make_unguarded(&self, number: usize, stop: &AtomicBool) -> Result<Option<HostBatch>> {
        let size = self.options().order.batch_size.max(1);
        let positions = number * size..((number + 1) * size).min(self.order.len());
        let mut random = Random::of_batch(self.seed(), self.epoch, number);
        let input = self.input(&mut random);
        let batch = match self.one_by_one(positions.clone(), input, stop)? {
            OneByOne::Batch(batch) => Some(batch),
            OneByOne::Stopped => None,
            OneByOne::Impossible => self.all_at_once(positions, input, stop)?,
        };
        let Some(mut batch) = batch else {
            return Ok(None);
        };
        if let Some(mixing) = self.options().mixing {
            mix(&mut batch, mixing, &mut random)?;
        }
        Ok(Some(batch))
    }

    /// Reads all samples of a batch, then prepares them: the way that always works.
    fn all_at_once(
        &self,
        positions: Range<usize>,
        input: &InputBox,
        stop: &AtomicBool,
    ) -> Result<Option<HostBatch>> {
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
        let batch = self.shared.timings.measured(Stage::Prepare, || {
            collate(
                input,
                &samples,
                targets,
                self.options().predict,
                &self.shared.pool,
            )
        })?;
        samples.into_iter().for_each(recycled);
        Ok(Some(batch))
    }

    /// Prepares each sample as soon as it is read, so that no more than one image is in memory at a time: where the headers tell
    /// all sizes beforehand, and every image can be read.
    fn one_by_one(&self, positions: Range<usize>, input: &InputBox, stop: &AtomicBool) -> Result<OneByOne> {
        if !self.keeps_sizes() {
            return Ok(OneByOne::Impossible);
        }
        let timings = &self.shared.timings;
        let (mut records, mut shapes, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for position in positions {
            let Some(&index) = self.order.get(position) else {
                return Ok(OneByOne::Impossible);
            };
            let record = self.record(index)?;
            let header = record.images.first().map(decode::size);
            let (Some(Ok(size)), None) = (header, record.region.as_ref()) else {
                return Ok(OneByOne::Impossible);
            };
            let shape = shape_of(input, size, self.options().train);
            shapes.push(shape.map_err(|e| e.within(record.name.as_str()))?);
            sizes.push(size);
            records.push((index, record));
        }
        let names = records
            .iter()
            .map(|(_, record)| record.name.to_string())
            .collect();
        let mut assembly = Assembly::new(input, shapes, names, &self.shared.pool)?;
        let mut targets = Vec::with_capacity(records.len());
        for ((index, record), size) in records.into_iter().zip(sizes) {
            if stop.load(Ordering::Relaxed) {
                return Ok(OneByOne::Stopped);
            }
            // What can't be read is dealt with in the other way.
            let Ok(images) = self.images(index, &record) else {
                return Ok(OneByOne::Impossible);
            };
            let (sample, own) = self.changed(index, record, images)?;
            if sample.images.first().map(|p| (p.width, p.height)) != Some(size) {
                return Ok(OneByOne::Impossible);
            }
            timings.measured(Stage::Prepare, || assembly.add(&sample))?;
            targets.push(own);
            recycled(sample);
        }
        let batch = timings.measured(Stage::Prepare, || {
            assembly.finish(targets, self.options().predict)
        })?;
        Ok(OneByOne::Batch(batch))
    }

    /// Whether every image has the size that its header says when it comes to the adapter.
    fn keeps_sizes(&self) -> bool {
        let crops = self.augmentations().is_some_and(|a| a.random_crop.value() > 0.0);
        !crops && !self.options().scaled_decode
    }

    /// The input side of a batch: one of several sizes by chance.
    fn input(&self, random: &mut Random) -> &InputBox {
        let Shared { input, sizes, .. } = self.shared.as_ref();
        if sizes.is_empty() {
            return input;
        }
        sizes.get(random.below(sizes.len())).unwrap_or(input)
    }

    /// The sample at a place of the epoch's order. Where its images can't be read, and the configuration says to go on: in
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
                    Err(too_many_broken(tries))
                } else {
                    Ok(None)
                };
            };
            let record = self.record(index)?;
            match self.images(index, &record) {
                Err(error) if skips && error.kind == Kind::Input => self.shared.broken.note(index, &error),
                images => return self.changed(index, record, images?).map(Some),
            }
        }
    }

    /// The sample of a record, and the record's own fields as they were.
    pub fn sample(&self, index: usize) -> Result<(Sample, Fields)> {
        let record = self.record(index)?;
        let images = self.images(index, &record)?;
        self.changed(index, record, images)
    }

    fn record(&self, index: usize) -> Result<Record> {
        let shared = self.shared.as_ref();
        let args = RecordArgs {
            index: index as u64,
            epoch: self.epoch,
            seed: Random::seed_of_record(self.seed(), self.epoch, shared.source.id(index), Use::Task),
        };
        let mut record = shared
            .timings
            .measured(Stage::Record, || shared.source.record_in(&args))
            .map_err(|e| e.within(format!("record {index}")))?;
        if record.fields.items.iter().any(|field| field.source.is_some()) {
            shared
                .timings
                .measured(Stage::Decode, || decode::load_fields(&mut record.fields))
                .map_err(|e| e.within(format!("record {index}")))?;
        }
        if record.name.is_empty() {
            record.name = format!("record {index}").into();
        }
        Ok(record)
    }

    /// The record's sample, changed at random where the epoch's training wants it, and the record's own fields.
    fn changed(&self, index: usize, record: Record, images: Vec<Scaled>) -> Result<(Sample, Fields)> {
        let own = if self.options().keep_targets {
            record.fields.clone()
        } else {
            Fields::new() // Nobody evaluates them, and masks of a whole batch are large.
        };
        let mut sample = self.unchanged(index, record, images)?;
        if let Some(augmentations) = self.augmentations() {
            self.shared
                .timings
                .measured(Stage::Augment, || self.augment(index, &mut sample, augmentations))
                .map_err(|e| e.within(sample.name.as_str()))?;
        }
        Ok((sample, own))
    }

    /// The record's sample as it is; its targets belong to the image as it was decoded.
    fn unchanged(&self, index: usize, record: Record, images: Vec<Scaled>) -> Result<Sample> {
        let mut fields = record.fields;
        if self.augmentations().is_some() || self.options().scaled_decode {
            refuse_unknown_roles(&fields).map_err(|e| e.within(record.name.as_str()))?;
            decode::dense_masks(&mut fields).map_err(|e| e.within(record.name.as_str()))?;
        }
        if let Some(Scaled { image, original }) = images.first()
            && *original != (image.width, image.height)
        {
            let (from, to) = ([original.0, original.1], [image.width, image.height]);
            fields = shrunk(&fields, from, to).map_err(|e| e.within(record.name.as_str()))?;
        }
        Ok(Sample {
            index: self.shared.source.id(index),
            images: images.into_iter().map(|scaled| scaled.image).collect(),
            name: record.name,
            region: record.region,
            fields,
            train: self.options().train,
            seed: Random::seed_of_record(
                self.seed(),
                self.epoch,
                self.shared.source.id(index),
                Use::Adapter,
            ),
            extra: Text::new(),
        })
    }

    fn images(&self, index: usize, record: &Record) -> Result<Vec<Scaled>> {
        let small = self.options().scaled_decode
            && self.options().train
            && record.images.len() == 1
            && record.region.is_none();
        let read = |source: &ImageSource| {
            if small {
                decode_scaled(source, self.largest_input(decode::size(source)?)?)
            } else {
                let image = decode(source)?;
                let original = (image.width, image.height);
                Ok(Scaled { image, original })
            }
        };
        let one = |(number, source): (usize, &ImageSource)| match &self.shared.cache {
            // What is in memory already needs no second copy.
            Some(cache) if source.decoded.width == 0 => cache.get((index, number), || read(source)),
            _ => read(source),
        };
        self.shared
            .timings
            .measured(Stage::Decode, || {
                record.images.iter().enumerate().map(one).collect::<Result<_>>()
            })
            .map_err(|e| e.within(record.name.as_str()))
    }

    /// Width and height of the largest input that is made of an image of this size.
    fn largest_input(&self, size: (u32, u32)) -> Result<(u32, u32)> {
        let mut largest = (0, 0);
        for input in std::iter::once(&self.shared.input).chain(&self.shared.sizes) {
            let shape = shape_of(input, size, true)?;
            let mut sides = shape.dims.iter().rev();
            let mut side = || sides.next().map_or(0, |&s| u32::try_from(s).unwrap_or(u32::MAX));
            let (width, height) = (side(), side());
            largest = (largest.0.max(width), largest.1.max(height));
        }
        Ok(largest)
    }

    /// What changes this epoch's images at random.
    fn augmentations(&self) -> Option<&Augmentations> {
        self.options().augment.as_ref().filter(|_| self.changes)
    }

    fn augment(&self, index: usize, sample: &mut Sample, augmentations: &Augmentations) -> Result<()> {
        let mut random = Random::new(self.seed(), self.epoch, index as u64);
        let train = sample.train;
        let input_size = |width, height| {
            let shape = shape_of(&self.shared.input, (width, height), train)?;
            Ok(shape.dims.iter().rev().take(2).min().copied().unwrap_or(0))
        };
        let partner = |random: &mut Random| self.partner(random);
        let context = augment::Context {
            input_edge: &input_size,
            partner: &partner,
        };
        augment::apply(sample, augmentations, &mut random, &context)
    }

    /// Another record's sample, unchanged. One that can't be read is passed over where the configuration says so.
    fn partner(&self, random: &mut Random) -> Result<Sample> {
        let skips = self.options().broken_files == BrokenFiles::Skip;
        for _ in 0..MOST_BROKEN {
            let index = random.below(self.shared.source.len());
            let record = self.record(index)?;
            match self.images(index, &record) {
                Err(error) if skips && error.kind == Kind::Input => self.shared.broken.note(index, &error),
                images => return self.unchanged(index, record, images?),
            }
        }
        Err(too_many_broken(MOST_BROKEN))
    }
}

/// A role of a newer plugin that belongs to the image's geometry would stay behind when it changes.
fn refuse_unknown_roles(fields: &Fields) -> Result<()> {
    match fields
        .items
        .iter()
        .find(|field| field.role.moves() && !augment::moves(field.role))
    {
        None => Ok(()),
        Some(field) => Err(Error::usage(format!(
            "the field `{}` ({:?}) moves with the image, and this version of cvhost can't move it",
            field.name, field.role
        ))
        .with_help("update cvhost, or switch augmentations off (data.augment: false)")),
    }
}

fn too_many_broken(tries: usize) -> Error {
    Error::input(format!("{tries} images in a row can't be read"))
        .with_help("the warnings name each; mend the files or their paths")
}

/// How making a batch sample by sample went.
enum OneByOne {
    Batch(HostBatch),
    Stopped,
    /// Its sizes aren't known beforehand, or one of its images can't be read.
    Impossible,
}

/// The memory of a sample's images serves the thread's next one.
fn recycled(sample: Sample) {
    sample.images.into_iter().for_each(recycle);
}
/// What a panic said.
fn message_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

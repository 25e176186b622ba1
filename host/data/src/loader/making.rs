//! Builds one batch: each record is decoded, augmented, and written into its slot.

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

/// Number of consecutive unreadable records after which training gives up.
const MAX_BROKEN: usize = 100;

/// The work of one epoch, shared by all workers.
#[derive(Clone)]
pub(super) struct Plan {
    shared: Arc<Shared>,
    order: Arc<[usize]>,
    epoch: u64,
    /// Whether this epoch's images are augmented.
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

    /// Builds batch `number`; `None` if `stop` is set in the meantime, or if none of its records
    /// can be read. A panic becomes an error.
    pub fn make(&self, number: usize, stop: &AtomicBool) -> Result<Option<HostBatch>> {
        catch_unwind(AssertUnwindSafe(|| self.make_unguarded(number, stop))).unwrap_or_else(|payload| {
            Err(Error::failed(format!(
                "building batch {number} panicked: {}",
                message_of(payload.as_ref())
            ))
            .with_help("this is a bug in cvhost or in a plugin; please report it"))
        })
    }

    /// The error for a batch that took longer than the timeout.
    pub fn stuck(&self, number: usize) -> Error {
        let size = self.options().order.batch_size.max(1);
        let indices = self.order.iter().skip(number * size).take(size);
        let name = |index: &usize| {
            let name = self.shared.source.name(*index);
            name.unwrap_or_else(|_| format!("record {index}"))
        };
        let seconds = self.options().timeout.map_or(0, |timeout| timeout.as_secs());
        Error::failed(format!(
            "the loader's workers have not delivered a batch for {seconds} seconds \
             (data.loader_timeout)"
        ))
        .with_details(indices.map(name).collect())
        .with_expected("each of these images to be read within that time")
        .with_help(
            "check whether the disk that holds them responds, or raise data.loader_timeout; 0 waits \
             forever",
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

    /// Reads all samples of a batch, then prepares them. This always works.
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

    /// Prepares each sample as soon as it is read, so that at most one image is in memory at a
    /// time. Requires that the headers determine all sizes in advance, and that every image can be
    /// read.
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
            // Unreadable images are handled by `all_at_once`.
            let Ok(images) = self.images(index, &record) else {
                return Ok(OneByOne::Impossible);
            };
            let (sample, own) = self.augmented(index, record, images)?;
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

    /// Whether every image reaches the adapter with the size given by its header.
    fn keeps_sizes(&self) -> bool {
        let crops = self.augmentations().is_some_and(|a| a.random_crop.value() > 0.0);
        !crops && !self.options().scaled_decode
    }

    /// The input processor of a batch: one of several sizes at random.
    fn input(&self, random: &mut Random) -> &InputBox {
        let Shared { input, sizes, .. } = self.shared.as_ref();
        if sizes.is_empty() {
            return input;
        }
        sizes.get(random.below(sizes.len())).unwrap_or(input)
    }

    /// The sample at a position of the epoch's order. If its images can't be read and the
    /// configuration says to skip such records: in training the next readable record, otherwise
    /// `None`.
    fn readable(&self, position: usize) -> Result<Option<(Sample, Fields)>> {
        let skips = self.options().broken_files == BrokenFiles::Skip;
        let tries = if self.options().train {
            MAX_BROKEN.min(self.order.len())
        } else {
            1
        };
        let mut positions = (position..self.order.len()).chain(0..position).take(tries);
        loop {
            let Some(&index) = positions.next().and_then(|position| self.order.get(position)) else {
                return if self.options().train {
                    Err(too_many_broken(tries))
                } else {
                    Ok(None)
                };
            };
            let record = self.record(index)?;
            match self.images(index, &record) {
                Err(error) if skips && error.kind == Kind::Input => self.shared.broken.note(index, &error),
                images => return self.augmented(index, record, images?).map(Some),
            }
        }
    }

    /// The sample of a record, and the record's own unmodified fields.
    pub fn sample(&self, index: usize) -> Result<(Sample, Fields)> {
        let record = self.record(index)?;
        let images = self.images(index, &record)?;
        self.augmented(index, record, images)
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

    /// The record's sample, augmented if the plan asks for it, and the record's own fields.
    fn augmented(&self, index: usize, record: Record, images: Vec<Scaled>) -> Result<(Sample, Fields)> {
        let own = if self.options().keep_targets {
            record.fields.clone()
        } else {
            Fields::new() // Unused, and masks of a whole batch are large.
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

    /// The record's sample without augmentation; its targets are scaled to the decoded image.
    fn unchanged(&self, index: usize, record: Record, images: Vec<Scaled>) -> Result<Sample> {
        let mut fields = record.fields;
        if self.augmentations().is_some() || self.options().scaled_decode {
            reject_unknown_roles(&fields).map_err(|e| e.within(record.name.as_str()))?;
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
            // Images that are in memory already aren't cached.
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

    /// Width and height of the largest input created from an image of this size.
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

    /// This epoch's augmentations.
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

    /// Another record's sample without augmentation. Unreadable records are skipped if the
    /// configuration says so.
    fn partner(&self, random: &mut Random) -> Result<Sample> {
        let skips = self.options().broken_files == BrokenFiles::Skip;
        for _ in 0..MAX_BROKEN {
            let index = random.below(self.shared.source.len());
            let record = self.record(index)?;
            match self.images(index, &record) {
                Err(error) if skips && error.kind == Kind::Input => self.shared.broken.note(index, &error),
                images => return self.unchanged(index, record, images?),
            }
        }
        Err(too_many_broken(MAX_BROKEN))
    }
}

/// Rejects fields with a role of a newer plugin that moves with the image's geometry, as they would
/// not be transformed.
fn reject_unknown_roles(fields: &Fields) -> Result<()> {
    match fields
        .items
        .iter()
        .find(|field| field.role.moves() && !augment::moves(field.role))
    {
        None => Ok(()),
        Some(field) => Err(Error::usage(format!(
            "the field `{}` ({:?}) moves with the image, but this version of cvhost can't transform it",
            field.name, field.role
        ))
        .with_help("update cvhost, or turn augmentations off (data.augment: false)")),
    }
}

fn too_many_broken(tries: usize) -> Error {
    Error::input(format!("{tries} images in a row can't be read"))
        .with_help("the warnings name each of them; fix the files or their paths")
}

/// The outcome of building a batch sample by sample.
enum OneByOne {
    Batch(HostBatch),
    Stopped,
    /// The sizes aren't known in advance, or one of the images can't be read.
    Impossible,
}

/// Recycles the memory of a sample's images for the thread's next one.
fn recycled(sample: Sample) {
    sample.images.into_iter().for_each(recycle);
}
/// The message of a panic.
fn message_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

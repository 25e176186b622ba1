//! Creates the loader of a split according to the configuration.

use crate::session::Session;
use cvhost::config::Sampling;
use cvhost::error::Result;
use cvhost_checkpoint::ModelFolder;
use cvhost_data::{Loader, LoaderOptions, Mixing, OrderOptions, Source, shape_of};
use cvhost_plugin_api::abi::InputBox;
use cvhost_plugin_api::data::LabelSpec;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

impl Session {
    /// Creates the loader of training images, with their order and augmentation. `input` is the
    /// model's input side; if `sizes` is not empty, each batch uses one of them.
    pub fn train_loader(
        &self,
        source: Arc<dyn Source>,
        input: &Arc<InputBox>,
        sizes: Vec<Arc<InputBox>>,
    ) -> Result<Loader> {
        let config = &self.loaded.config;
        let data = &config.data;
        let seed = config.training.seed;
        let common = self.common_options();
        if self.trial.overfit_batches.is_some() {
            // The same batches in each epoch, unchanged: it only matters whether the model can
            // learn them.
            return Loader::new(
                source,
                Arc::clone(input),
                LoaderOptions {
                    train: true,
                    keep_targets: false,
                    ..common
                },
            );
        }
        let options = LoaderOptions {
            order: OrderOptions {
                shuffle_seed: Some(seed),
                sampling: data.sampling,
                repeat_threshold: data.repeat_threshold,
                group_by_aspect_ratio: data.group_by_aspect_ratio,
                last_batch: data.last_batch,
                ..common.order
            },
            augment: data.augment.then_some(data.augmentations),
            mixing: self.mixing(source.as_ref()),
            train: true,
            keep_targets: false,
            cache: usize::try_from(data.cache_mb.saturating_mul(1 << 20)).unwrap_or(usize::MAX),
            scaled_decode: data.scaled_decode,
            ..common
        };
        if data.sampling != Sampling::Natural {
            self.warn_without_classes(source.as_ref())?;
        }
        let loader = Loader::with_sizes(source, Arc::clone(input), sizes, options)?;
        Ok(match self.first_unchanged_epoch(loader.batches()) {
            Some(epoch) => loader.unchanged_from(epoch),
            None => loader,
        })
    }

    /// Creates a loader of training images in order and unchanged, with this batch size, running on
    /// the caller's thread.
    pub fn plain_train_loader(
        &self,
        source: Arc<dyn Source>,
        input: &Arc<InputBox>,
        batch_size: u32,
    ) -> Result<Loader> {
        let common = self.common_options();
        let options = LoaderOptions {
            order: OrderOptions {
                batch_size: batch_size as usize,
                ..common.order
            },
            train: true,
            keep_targets: false,
            threads: 0,
            ..common
        };
        Loader::new(source, Arc::clone(input), options)
    }

    /// The first epoch without augmentation according to `off_last_epochs`. Training ends with
    /// `max_epochs` or, at this number of batches per epoch, with `max_steps`.
    fn first_unchanged_epoch(&self, batches: usize) -> Option<u64> {
        let config = &self.loaded.config;
        let off = u64::from(config.data.augmentations.off_last_epochs);
        let steps = batches
            .div_ceil(config.training.accumulate.max(1) as usize)
            .max(1) as u64;
        let by_steps = config.training.max_steps.map(|most| most.div_ceil(steps));
        let epochs = u64::from(config.training.max_epochs).min(by_steps.unwrap_or(u64::MAX));
        (off > 0).then(|| epochs.saturating_sub(off))
    }

    /// The input sides of `multi_scale`: one per size from the lowest factor to the highest, in
    /// steps of 32 pixels. Empty if the key is off.
    pub fn input_sizes(
        &self,
        input: &InputBox,
        folder: &ModelFolder,
        spec: &LabelSpec,
    ) -> Result<Vec<Arc<InputBox>>> {
        let data = &self.loaded.config.data;
        let Some(factors) = data.augmentations.multi_scale.filter(|_| data.augment) else {
            return Ok(Vec::new());
        };
        let adapter = self.adapter(folder)?;
        let mut inputs = Vec::new();
        for size in scaled_sizes(own_size(input)?, factors) {
            let mut config = self.loaded.document.clone();
            config["data"]["image_size"] = size;
            inputs.push(Arc::new(self.input_with(&adapter, folder, &config, spec)?));
        }
        Ok(inputs)
    }

    /// Creates the loader for evaluation: in order, unchanged, with exact decoding.
    pub fn eval_loader(&self, source: Arc<dyn Source>, input: &Arc<InputBox>) -> Result<Loader> {
        Loader::new(source, Arc::clone(input), self.common_options())
    }

    /// The number of worker threads: `data.num_workers`.
    pub fn threads(&self) -> usize {
        let configured = self.loaded.config.data.num_workers;
        configured.map_or_else(default_threads, |n| n as usize)
    }

    /// The maximum number of batches that are waiting or in progress: `data.prefetch`.
    pub fn prefetch(&self) -> usize {
        let configured = self.loaded.config.data.prefetch;
        configured.map_or_else(|| self.threads() + 1, |n| n as usize)
    }

    fn common_options(&self) -> LoaderOptions {
        let data = &self.loaded.config.data;
        let threads = self.threads();
        LoaderOptions {
            order: OrderOptions {
                batch_size: self.batch_size() as usize,
                ..OrderOptions::default()
            },
            threads,
            prefetch: self.prefetch(),
            broken_files: data.broken_files,
            timeout: (data.loader_timeout > 0).then(|| Duration::from_secs(data.loader_timeout)),
            ..LoaderOptions::default()
        }
    }

    /// The mixing of training samples. Logs a warning and returns `None` if the task's targets
    /// can't be mixed.
    fn mixing(&self, source: &dyn Source) -> Option<Mixing> {
        let model = &self.loaded.config.model;
        let mixing = Mixing::new(model.mixup_alpha, model.cutmix_alpha)?;
        if self.batch_size() < 2 {
            tracing::warn!("mixing has no effect with data.batch_size 1: images are mixed within a batch");
            return None;
        }
        let first = source.record(0).unwrap_or_default();
        if Mixing::fits(&first.fields) {
            return Some(mixing);
        }
        tracing::warn!(
            "`model.mixup_alpha` and `model.cutmix_alpha` have no effect: the targets of \
             this task contain no distribution over classes that could be mixed"
        );
        None
    }

    /// Warns if sampling by class is set, but the records have no classes.
    fn warn_without_classes(&self, source: &dyn Source) -> Result<()> {
        for index in 0..source.len() {
            if !source.meta(index)?.classes.is_empty() {
                return Ok(());
            }
        }
        tracing::warn!("`data.sampling` has no effect: this task doesn't report the classes of an image");
        Ok(())
    }
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(8))
}

/// Input sizes of `multi_scale` are multiples of this number of pixels, since most models need that
/// for their feature maps.
const SCALE_STEP: u32 = 32;

/// Height and width of the model input for a square image, which is the meaning of
/// `data.image_size`, whether the model's processor resizes to squares or keeps the aspect ratio.
fn own_size(input: &InputBox) -> Result<[u32; 2]> {
    let shape = shape_of(input, (1000, 1000), true)?;
    let mut sides = shape.dims.iter().rev().map(|&side| side as u32);
    let (width, height) = (sides.next().unwrap_or(1), sides.next().unwrap_or(1));
    Ok([height, width])
}

/// Values of `data.image_size`: a number for a square (or the shortest edge), else `[height,
/// width]`.
fn scaled_sizes([height, width]: [u32; 2], [low, high]: [f64; 2]) -> Vec<Value> {
    let edge = height.min(width);
    let steps = |factor: f64| {
        (f64::from(edge) * factor / f64::from(SCALE_STEP))
            .round()
            .max(1.0) as u32
    };
    let (first, last) = (steps(low.min(high)), steps(high.max(low)));
    let size = |step: u32| {
        if height == width {
            return json!(step * SCALE_STEP);
        }
        let scaled = |side: u32| {
            let exact = f64::from(side) * f64::from(step * SCALE_STEP) / f64::from(edge);
            ((exact / f64::from(SCALE_STEP)).round() as u32).max(1) * SCALE_STEP
        };
        json!([scaled(height), scaled(width)])
    };
    (first..=last).map(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_range_from_the_lowest_to_the_highest_factor_in_steps() {
        let sizes = scaled_sizes([640, 640], [0.9, 1.1]);
        assert_eq!(sizes, [576, 608, 640, 672, 704].map(Value::from));
        assert_eq!(
            scaled_sizes([320, 640], [0.5, 0.6]),
            [json!([160, 320]), json!([192, 384])]
        );
        assert_eq!(scaled_sizes([16, 16], [1.0, 1.0]), [json!(32)]);
    }
}

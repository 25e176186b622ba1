//! The loader of a split, as the configuration wants it.

use crate::session::Session;
use cvhost::config::Sampling;
use cvhost::error::Result;
use cvhost_data::{Loader, LoaderOptions, Mixing, OrderOptions, Source};
use cvhost_plugin_api::abi::InputBox;
use std::sync::Arc;

impl Session {
    /// The loader of training pictures: their order, their changes, their sizes.
    pub fn train_loader(&self, source: Arc<dyn Source>, input: &Arc<InputBox>) -> Result<Loader> {
        let config = &self.loaded.config;
        let data = &config.data;
        let seed = config.training.seed;
        let common = self.common_options();
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
            cache: usize::try_from(data.cache_mb.saturating_mul(1 << 20)).unwrap_or(usize::MAX),
            scaled_decode: data.scaled_decode,
            ..common
        };
        if data.sampling != Sampling::Natural {
            self.warn_without_classes(source.as_ref())?;
        }
        Loader::new(source, Arc::clone(input), options)
    }

    /// The loader of pictures that are evaluated: in order, unchanged, exact.
    pub fn eval_loader(&self, source: Arc<dyn Source>, input: &Arc<InputBox>) -> Result<Loader> {
        Loader::new(source, Arc::clone(input), self.common_options())
    }

    /// The threads that read pictures: `data.num_workers`.
    pub fn threads(&self) -> usize {
        let configured = self.loaded.config.data.num_workers;
        configured.map_or_else(default_threads, |n| n as usize)
    }

    fn common_options(&self) -> LoaderOptions {
        let data = &self.loaded.config.data;
        let threads = self.threads();
        LoaderOptions {
            order: OrderOptions {
                batch_size: data.batch_size as usize,
                ..OrderOptions::default()
            },
            threads,
            prefetch: data.prefetch.map_or(threads + 1, |n| n as usize),
            broken_files: data.broken_files,
            ..LoaderOptions::default()
        }
    }

    /// How training samples are mixed; none, which is told, where the task's targets can't be.
    fn mixing(&self, source: &dyn Source) -> Option<Mixing> {
        let model = &self.loaded.config.model;
        let mixing = Mixing::new(model.mixup_alpha, model.cutmix_alpha)?;
        if self.loaded.config.data.batch_size < 2 {
            tracing::warn!(
                "mixing has no effect with data.batch_size 1: a picture is mixed with another one of its batch"
            );
            return None;
        }
        let first = source.record(0).unwrap_or_default();
        if Mixing::fits(&first.fields) {
            return Some(mixing);
        }
        tracing::warn!(
            "`model.mixup_alpha` and `model.cutmix_alpha` have no effect: the targets of this task hold no distribution over \
             classes that could be mixed"
        );
        None
    }

    /// Sampling by class needs classes.
    fn warn_without_classes(&self, source: &dyn Source) -> Result<()> {
        for index in 0..source.len() {
            if !source.meta(index)?.classes.is_empty() {
                return Ok(());
            }
        }
        tracing::warn!("`data.sampling` has no effect: this task doesn't say which classes a picture has");
        Ok(())
    }
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(8))
}

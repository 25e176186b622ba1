//! `data.batch_size: auto`: finds the largest batch that fits into memory in a training step,
//! before training.

use crate::session::{Model, Session};
use cvhost::config::BatchSize;
use cvhost::error::Result;
use cvhost::progress::{self, gigabytes};
use cvhost_data::{Source, Subset};
use cvhost_plugin_api::abi::InputBox;
use cvhost_train::batch_size::{Choice, End, Largest, Search};
use serde_json::json;
use std::sync::Arc;

/// The maximum. Larger batches must be requested explicitly, since they change how training
/// behaves.
const MAX_BATCH: u32 = 64;
/// The minimum number of steps per epoch.
const MIN_STEPS: usize = 4;
/// The fraction of memory left free if the largest images are known, and if they aren't.
const SPARE: f64 = 0.12;
const SPARE_UNKNOWN: f64 = 0.3;

impl Session {
    /// The batch size without a search: 4 for `auto`. Used by commands that don't train: their
    /// results don't depend on it, and they need less memory than a training step.
    pub fn batch_size(&self) -> u32 {
        self.loaded
            .config
            .data
            .batch_size
            .number()
            .unwrap_or(BatchSize::USUAL)
    }

    /// Finds the batch size for training `model` on `train`, sets it in the configuration and
    /// prints it. `sizes` are the input sides of `multi_scale`. Training state isn't affected,
    /// unless the search ends with [`End::RanOut`]: then the model can't be used any more.
    ///
    /// # Errors
    /// The data or the model fails; the search is interrupted; even one image needs too much
    /// memory.
    pub fn find_batch_size(
        &mut self,
        model: &mut Model,
        train: &Arc<dyn Source>,
        sizes: &[Arc<InputBox>],
    ) -> Result<Choice> {
        let config = &self.loaded.config;
        // The last size is the largest.
        let input = sizes.last().unwrap_or(&model.input);
        let most = u32::try_from(train.len() / MIN_STEPS).map_or(MAX_BATCH, |most| most.clamp(1, MAX_BATCH));
        let grouped = config.data.group_by_aspect_ratio;
        let largest = Largest::find(train.as_ref(), input, grouped, most as usize)?;
        let waiting = match self.device {
            tch::Device::Cpu => u64::from(config.training.accumulate) + self.prefetch() as u64,
            _ => u64::from(config.training.accumulate) - 1,
        };
        let search = Search {
            network: &mut model.network,
            training: &config.training,
            loader: &|size| {
                let records = largest.batch(size as usize);
                let part = Arc::new(Subset::new(Arc::clone(train), records));
                self.plain_train_loader(part, input, size)
            },
            most,
            further_batches: waiting,
            reserved: config.data.cache_mb.saturating_mul(1 << 20),
            spare: if largest.known() { SPARE } else { SPARE_UNKNOWN },
        };
        let choice = search.run()?;
        self.loaded.decide("data.batch_size", &json!(choice.size))?;
        print_choice(choice, train.len());
        Ok(choice)
    }
}

fn print_choice(choice: Choice, images: usize) {
    let Choice {
        size, need, limit, ..
    } = choice;
    let why = match choice.end {
        End::Most if size >= MAX_BATCH => "the maximum that is tried".to_owned(),
        End::Most => format!("the maximum for {images} training images"),
        End::TooLarge(next) => format!(
            "a batch of {} would need {} of {}",
            size * 2,
            gigabytes(next),
            gigabytes(limit)
        ),
        End::RanOut => format!("a batch of {} runs out of memory", size * 2),
    };
    progress::note(&format!(
        "batch size {size}: training needs about {}; {why}",
        gigabytes(need)
    ));
    if need > limit {
        tracing::warn!(
            "memory is tight: training needs {} of {} even with one image per batch",
            gigabytes(need),
            gigabytes(limit)
        );
    }
}

//! `data.batch_size: auto`: the largest batch that a training step has memory for, found before the training.

use crate::session::{Model, Session};
use cvhost::config::BatchSize;
use cvhost::error::Result;
use cvhost::progress::{self, gigabytes};
use cvhost_data::{Source, Subset};
use cvhost_plugin_api::abi::InputBox;
use cvhost_train::batch_size::{Choice, End, Largest, Search};
use serde_json::json;
use std::sync::Arc;

/// Larger batches are for who asks for them: they change how a training goes.
const MOST: u32 = 64;
/// An epoch has so many steps at least.
const STEPS: usize = 4;
/// The part of the memory that is left free where the largest images are known, and where they aren't.
const SPARE: f64 = 0.12;
const SPARE_UNKNOWN: f64 = 0.3;

impl Session {
    /// The batch size that counts without a search: 4 for `auto`. Commands that don't train take it, as their results don't depend
    /// on it and they need less memory than a training step.
    pub fn batch_size(&self) -> u32 {
        self.loaded
            .config
            .data
            .batch_size
            .number()
            .unwrap_or(BatchSize::USUAL)
    }

    /// Finds the batch size for training `model` on `train`, puts it into the configuration and tells it. `sizes` are the input
    /// sides of `multi_scale`. Nothing is changed that a training depends on, unless the choice's end is [`End::RanOut`]: the model
    /// is then of no use any more.
    ///
    /// # Errors
    /// Those of the data and the model; an interruption; memory that doesn't suffice for one image.
    pub fn find_batch_size(
        &mut self,
        model: &mut Model,
        train: &Arc<dyn Source>,
        sizes: &[Arc<InputBox>],
    ) -> Result<Choice> {
        let config = &self.loaded.config;
        // The last of the sizes is the largest.
        let input = sizes.last().unwrap_or(&model.input);
        let most = u32::try_from(train.len() / STEPS).map_or(MOST, |most| most.clamp(1, MOST));
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
        tell(choice, train.len());
        Ok(choice)
    }
}

fn tell(choice: Choice, images: usize) {
    let Choice {
        size, need, limit, ..
    } = choice;
    let why = match choice.end {
        End::Most if size >= MOST => "the most that is looked for".to_owned(),
        End::Most => format!("the most for {images} training images"),
        End::TooLarge(next) => format!(
            "with {} it would be {} of {}",
            size * 2,
            gigabytes(next),
            gigabytes(limit)
        ),
        End::RanOut => format!("with {} memory runs out", size * 2),
    };
    progress::note(&format!(
        "batch size {size}: the training takes about {}; {why}",
        gigabytes(need)
    ));
    if need > limit {
        tracing::warn!(
            "memory is tight: the training takes {} of {} even with one image a batch",
            gigabytes(need),
            gigabytes(limit)
        );
    }
}

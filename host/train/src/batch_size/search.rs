//! The largest batch that a training step has memory for, found by real passes with one image, two,
//! four, and so on.

use super::gauge::Gauge;
use super::untouched::Untouched;
use crate::ema::Ema;
use crate::optimizer::{GroupRules, Optimizer};
use cvhost::config::TrainingConfig;
use cvhost::error::{Error, Result};
use cvhost::interrupt;
use cvhost_data::{HostBatch, Loader};
use cvhost_torch::batch::to_batch;
use cvhost_torch::context::{self, Moment};
use cvhost_torch::memory;
use cvhost_torch::network::Network;
use cvhost_torch::scalars::torch_error;
use tch::Tensor;

/// A search for the largest batch size.
pub struct Search<'a> {
    pub network: &'a mut Network,
    pub training: &'a TrainingConfig,
    /// Creates the loader whose first batch has this many images, the largest of the data.
    pub loader: &'a dyn Fn(u32) -> Result<Loader>,
    /// The largest size that is tried.
    pub most: u32,
    /// Batches that the training has in memory in addition to the current one.
    pub further_batches: u64,
    /// Bytes that the training needs for other things later, on the CPU.
    pub reserved: u64,
    /// The fraction of the memory that is left free.
    pub spare: f64,
}

/// The result of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    pub size: u32,
    /// Bytes that the training needs with this size.
    pub need: u64,
    /// Bytes that it may use.
    pub limit: u64,
    /// Why the next size was not chosen.
    pub end: End,
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The next size is above the maximum.
    Most,
    /// The next size would need this many bytes, extrapolated from the sizes before.
    TooLarge(u64),
    /// The next size was tried and ran out of memory. The model can't be trusted any more.
    RanOut,
}

impl Search<'_> {
    /// Afterwards the network and the random generators are unchanged, except after
    /// [`End::RanOut`].
    ///
    /// # Errors
    /// The errors of the data and the model; an interruption; out of memory with a single image.
    pub fn run(mut self) -> Result<Choice> {
        let gauge = Gauge::of(self.network.device());
        let untouched = Untouched::of(self.network)?;
        let found = self.double(&gauge);
        let restored = untouched.restore();
        gauge.give_back();
        // If the search failed, its own error is the cause: a GPU that failed can't be restored
        // either.
        let found = found?;
        restored.map(|()| found)
    }

    fn double(&mut self, gauge: &Gauge) -> Result<Choice> {
        let all = gauge.in_use()?.saturating_add(gauge.left()?);
        let limit = (all as f64 * (1.0 - self.spare)) as u64;
        // The optimizer's state and the averages are in memory during the passes, as they will be
        // later.
        let rules = GroupRules {
            freeze: match self.training.unfreeze_at_epoch {
                Some(_) => Vec::new(), // it is trained later
                None => self.training.freeze.clone(),
            },
            ..GroupRules::new(self.training)
        };
        let parameters = self.network.parameters();
        let optimizer = Optimizer::new(parameters, &rules)?;
        let ema = self.training.ema.numbers();
        let ema = ema.map(|numbers| Ema::new(parameters, numbers)).transpose()?;
        let reserved = match gauge {
            Gauge::Cpu => {
                // A checkpoint is copied before it is written.
                let state: u64 = optimizer.state().iter().map(|(_, tensor)| bytes(tensor)).sum();
                let weights: u64 = parameters.iter().map(|p| bytes(&p.tensor.tensor())).sum();
                let averages = if ema.is_some() { weights } else { 0 };
                self.reserved.saturating_add(weights + averages + state)
            }
            Gauge::Gpu(_) => 0,
        };
        let gradients = optimizer.trained_parameters() as u64 * 4;
        let start = reserved.saturating_add(gauge.in_use()? + gradients);
        largest_that_fits(self.most, start, limit, |size| {
            let batch = self.pass(size, gauge)?;
            Ok(batch.map(|need| reserved.saturating_add(need)))
        })
    }

    /// Forward and backward with `size` images. Returns the peak memory in bytes, further batches
    /// included; `None` if memory ran out.
    fn pass(&mut self, size: u32, gauge: &Gauge) -> Result<Option<u64>> {
        if interrupt::requested() {
            return Err(interrupt::error());
        }
        let batch = (self.loader)(size)?.epoch(0, 0).next().transpose()?;
        let mut batch = batch.ok_or_else(|| Error::input("the training data has no batch"))?;
        let input: usize = batch.items.iter().map(|item| item.data.bytes().len()).sum();
        gauge.start()?;
        match forward_backward(self.network, &mut batch) {
            Ok(()) => Ok(Some(gauge.peak()? + input as u64 * self.further_batches)),
            Err(error) if memory::ran_out(&error) && size > 1 => Ok(None),
            Err(error) if memory::ran_out(&error) => {
                let text = error.to_string();
                Err(Error::failed("out of memory in a training step with one image")
                    .with_details(text.lines().next().map(str::to_owned).into_iter().collect())
                    .with_help("lower data.image_size, or set training.precision to auto"))
            }
            Err(error) => Err(error.within("the search for data.batch_size")),
        }
    }
}

/// Computes gradients like a training step, without an update.
fn forward_backward(network: &mut Network, batch: &mut HostBatch) -> Result<()> {
    let batch = to_batch(batch, network.device())?;
    let context = context::training(Moment::default(), network.normalisers(&batch)?);
    let forward = network.forward(&batch, &context)?;
    if let Some(loss) = forward.loss {
        loss.f_backward()
            .map_err(|e| torch_error("run the backward pass", &e))?;
    }
    Ok(())
}

fn bytes(tensor: &Tensor) -> u64 {
    (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64
}

/// Doubles the size from 1 up to `most`. `need_of` tries a size and returns the bytes that it
/// needs, `None` if memory ran out; `start` is the need without any image. A size is tried only if
/// it should fit by extrapolation from the sizes before: the need grows linearly with the number of
/// images.
fn largest_that_fits(
    most: u32,
    start: u64,
    limit: u64,
    mut need_of: impl FnMut(u32) -> Result<Option<u64>>,
) -> Result<Choice> {
    let mut choice = Choice {
        size: 1,
        need: start,
        limit,
        end: End::Most,
    };
    let mut size = 1;
    loop {
        let Some(need) = need_of(size)? else {
            choice.end = End::RanOut;
            return Ok(choice);
        };
        if need > limit && size > 1 {
            choice.end = End::TooLarge(need);
            return Ok(choice);
        }
        // Doubling adds as many images as there are now; the last doubling added half of them.
        let growth = match size {
            1 => need.saturating_sub(start),
            _ => 2 * need.saturating_sub(choice.need),
        };
        (choice.size, choice.need) = (size, need);
        size *= 2;
        if size > most {
            return Ok(choice);
        }
        if need + growth > limit {
            choice.end = End::TooLarge(need + growth);
            return Ok(choice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The choice if a size needs `need` bytes, and the sizes that were tried.
    fn search(most: u32, limit: u64, need: impl Fn(u32) -> Option<u64>) -> (Choice, Vec<u32>) {
        let mut tried = Vec::new();
        let choice = largest_that_fits(most, 100, limit, |size| {
            tried.push(size);
            Ok(need(size))
        });
        (choice.unwrap(), tried)
    }

    #[test]
    fn sizes_double_while_the_next_one_fits() {
        let linear = |size: u32| Some(100 + 10 * u64::from(size));
        let (choice, tried) = search(64, 1000, linear);
        assert_eq!(
            (choice.size, choice.need, choice.end),
            (64, 740, End::Most),
            "{tried:?}"
        );
        // 16 images take 260 bytes, 32 would take 420: they are not tried.
        let (choice, tried) = search(64, 400, linear);
        assert_eq!((choice.size, choice.end), (16, End::TooLarge(420)));
        assert_eq!(tried, [1, 2, 4, 8, 16]);
        let (choice, _) = search(64, 420, linear);
        assert_eq!(choice.size, 32, "exactly enough memory is enough");
        let (choice, tried) = search(3, 1000, linear);
        assert_eq!((choice.size, tried), (2, vec![1, 2]));
    }

    #[test]
    fn a_size_that_needs_more_than_expected_or_runs_out_falls_back_to_the_previous_one() {
        let quadratic = |size: u32| Some(100 + u64::from(size * size));
        let (choice, tried) = search(64, 300, quadratic);
        // 16 images are expected to need 260, but need 356.
        assert_eq!((choice.size, choice.end), (8, End::TooLarge(356)), "{tried:?}");
        let broken = |size: u32| (size < 8).then_some(101);
        let (choice, tried) = search(64, 300, broken);
        assert_eq!((choice.size, choice.end), (4, End::RanOut));
        assert_eq!(tried, [1, 2, 4, 8]);
    }

    #[test]
    fn one_image_is_chosen_even_if_it_is_too_much() {
        let (choice, tried) = search(64, 50, |_| Some(110));
        assert_eq!((choice.size, choice.need), (1, 110));
        assert!(matches!(choice.end, End::TooLarge(_)));
        assert_eq!(tried, [1]);
    }
}

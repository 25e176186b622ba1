//! Contexts of forward passes. Every [`StepContext`] of the host is built here.

use cvhost_plugin_api::data::{Mode, StepContext};

/// The point in a run at which a forward pass takes place, and its rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Completed optimizer steps.
    pub step: u64,
    /// Completed epochs.
    pub epoch: u64,
    /// Optimizer steps of the whole run; 0 outside training.
    pub total_steps: u64,
    /// The index of this process among those that train together, from 0.
    pub rank: u64,
    /// The number of processes that train together.
    pub world_size: u64,
}

impl Default for Moment {
    /// For use outside training, in a single process.
    fn default() -> Self {
        Moment {
            step: 0,
            epoch: 0,
            total_steps: 0,
            rank: 0,
            world_size: 1,
        }
    }
}

/// The context of a forward pass in training. `normalisers` are summed over the accumulation window
/// and over all ranks.
pub fn training(moment: Moment, normalisers: Vec<f64>) -> StepContext<'static> {
    context(Mode::TRAIN, moment, normalisers)
}

/// The context of a forward pass in evaluation; `normalisers` are those of the batch.
pub fn evaluation(moment: Moment, normalisers: Vec<f64>) -> StepContext<'static> {
    context(Mode::EVAL, moment, normalisers)
}

/// The context of a prediction, which has no loss.
pub fn prediction() -> StepContext<'static> {
    context(Mode::PREDICT, Moment::default(), Vec::new())
}

fn context(mode: Mode, moment: Moment, normalisers: Vec<f64>) -> StepContext<'static> {
    StepContext {
        step: moment.step,
        total_steps: moment.total_steps,
        epoch: moment.epoch,
        normalisers,
        rank: moment.rank,
        world_size: moment.world_size,
        ..StepContext::new(mode)
    }
}

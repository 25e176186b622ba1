//! The circumstances of a forward pass. Every [`StepContext`] of the host is built here.

use cvhost_plugin_api::data::{Mode, StepContext};

/// Where in a run a forward pass is, and on which rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Optimizer steps so far.
    pub step: u64,
    /// Epochs so far.
    pub epoch: u64,
    /// Optimizer steps of the whole run; 0 outside of a training run.
    pub total_steps: u64,
    /// This process among those that train together, from 0.
    pub rank: u32,
    /// The number of processes that train together.
    pub world: u32,
}

impl Default for Moment {
    /// Outside of a training run, in a single process.
    fn default() -> Self {
        Moment {
            step: 0,
            epoch: 0,
            total_steps: 0,
            rank: 0,
            world: 1,
        }
    }
}

/// The context of a forward pass in training. `normalisers` are summed over the accumulation window
/// and over all ranks.
pub fn training(moment: Moment, normalisers: Vec<f64>) -> StepContext {
    context(Mode::TRAIN, moment, normalisers)
}

/// The context of a forward pass whose loss is evaluated; `normalisers` are the batch's own.
pub fn evaluation(moment: Moment, normalisers: Vec<f64>) -> StepContext {
    context(Mode::EVAL, moment, normalisers)
}

/// The context of a prediction, which has no loss.
pub fn prediction() -> StepContext {
    context(Mode::PREDICT, Moment::default(), Vec::new())
}

fn context(mode: Mode, moment: Moment, normalisers: Vec<f64>) -> StepContext {
    StepContext {
        mode,
        step: moment.step,
        epoch: moment.epoch,
        normalisers,
    }
}

//! Everything that a step changes or reads beside the network: optimizer, schedule, averages of the
//! weights, loss scale, buffers.

use crate::buffers::Buffers;
use crate::ema::Ema;
use crate::optimizer::{Clip, GroupRules, Optimizer};
use crate::profile::Profile;
use crate::progress::{Position, Progress};
use crate::scaler::Scaler;
use crate::schedule::Schedule;
use crate::step::{StepOutcome, StepSettings, step};
use crate::strategy::Strategy;
use cvhost::config::{NanPolicy, TrainingConfig};
use cvhost::error::Result;
use cvhost_data::HostBatch;
use cvhost_plugin_api::sdk::Event;
use cvhost_torch::context::Moment;
use cvhost_torch::network::Network;
use tch::Device;

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLength {
    pub epochs: u64,
    pub steps: u64,
}

/// Turns gradients into weights.
pub struct Optimization {
    pub optimizer: Optimizer,
    pub schedule: Schedule,
    /// The warmup is not over when the run ends: steps of the warmup, and of the run.
    pub endless_warmup: Option<(u64, u64)>,
    pub ema: Option<Ema>,
    pub scaler: Option<Scaler>,
    pub clip: Clip,
    /// What a step changes even if it is skipped later; only where steps may be skipped.
    buffers: Option<Buffers>,
    read_first: bool,
}

impl Optimization {
    /// For a training that continues from `at`, as the configuration wants it. `batches` is the
    /// number of this rank's batches per epoch, and not 0.
    ///
    /// # Errors
    /// Nothing is left to train, or there is no memory.
    pub fn new(
        network: &Network,
        training: &TrainingConfig,
        scaler: Option<Scaler>,
        at: Position,
        batches: usize,
    ) -> Result<(Self, RunLength)> {
        let optimizer = Optimizer::new(network.parameters(), &GroupRules::new(training))?;
        let accumulate = training.accumulate as usize;
        let epochs = u64::from(training.max_epochs);
        let end = at.step + at.steps_left(epochs, batches, accumulate);
        let steps = training.max_steps.unwrap_or(u64::MAX).min(end);
        // The schedule follows the place in the training: a resumed run may have another number of
        // steps per epoch than before.
        let per_epoch = batches.div_ceil(accumulate) as u64;
        let shift = (epochs * per_epoch) as i64 - end as i64;
        let scheduled = steps.saturating_add_signed(shift);
        let schedule = Schedule::new(training, scheduled, per_epoch);
        let may_skip = scaler.is_some() || training.nan_policy == NanPolicy::Skip;
        let ema = training.ema.numbers();
        let optimization = Optimization {
            optimizer,
            endless_warmup: (schedule.warmup() >= scheduled).then(|| (schedule.warmup(), scheduled)),
            schedule: schedule.shifted(shift),
            ema: ema.map(|ema| Ema::new(network.parameters(), ema)).transpose()?,
            clip: Clip::new(training),
            buffers: may_skip.then(|| Buffers::of(network.parameters())).transpose()?,
            // The CPU has the values anyway. On a GPU waiting for them takes time, so they are read
            // later, unless they decide whether the weights change.
            read_first: may_skip || !matches!(network.device(), Device::Cuda(_)),
            scaler,
        };
        Ok((optimization, RunLength { epochs, steps }))
    }

    /// Whether a step's values are read before its weights change.
    pub fn reads_first(&self) -> bool {
        self.read_first
    }

    /// Forward, backward, the optimizer's step, and the averages of the weights.
    pub fn step(
        &mut self,
        network: &mut Network,
        window: &mut [HostBatch],
        progress: &mut Progress,
        total_steps: u64,
        profile: &Profile,
        strategy: &impl Strategy,
    ) -> Result<StepOutcome> {
        let settings = StepSettings {
            moment: moment(progress.at, total_steps, strategy),
            rate: self.schedule.rate(progress.at.step),
            clip: self.clip,
            read_first: self.read_first,
            profile,
        };
        if let Some(buffers) = &mut self.buffers {
            buffers.remember()?;
        }
        let (optimizer, scaler) = (&mut self.optimizer, self.scaler.as_mut());
        let outcome = step(network, optimizer, scaler, window, settings, strategy)?;
        let _span = profile.span("optimizer");
        if let Some(buffers) = self.buffers.as_mut().filter(|_| !outcome.changed) {
            buffers.restore()?;
        }
        progress.stepped(window.len());
        network.tell(&Event::StepEnd(progress.at.step))?;
        if let Some(ema) = self.ema.as_mut().filter(|_| outcome.changed) {
            ema.update(progress.at.step)?;
        }
        Ok(outcome)
    }

    /// Runs `with` while the network holds the averaged weights, if there are any: they are what is
    /// evaluated and saved.
    pub fn with_averages<T>(&mut self, with: impl FnOnce(&mut Self) -> T) -> T {
        self.swap_averages();
        let result = with(self);
        self.swap_averages();
        result
    }

    /// Exchanges the network's weights and the averages.
    pub fn swap_averages(&mut self) {
        self.ema.iter_mut().for_each(Ema::swap);
    }
}

/// Where in the run the next forward pass is.
pub fn moment(at: Position, total_steps: u64, strategy: &impl Strategy) -> Moment {
    let world = strategy.world();
    Moment {
        step: at.step,
        epoch: at.epoch,
        total_steps,
        rank: u64::from(world.rank),
        world_size: u64::from(world.size),
    }
}

//! The checkpoints of a training in progress: copied between two steps, written in the background.

use crate::events::{Checkpoint, RunEvent};
use crate::resume::{Sources, generators};
use crate::strategy::Strategy;
use crate::training_loop::TrainingLoop;
use cvhost::error::{Error, Result};
use cvhost_checkpoint::background::{Memory, Written};
use cvhost_checkpoint::{ModelImage, Snapshot, Stamp, StateImage};
use std::time::Instant;
use tch::Tensor;

impl<S: Strategy> TrainingLoop<'_, '_, S> {
    /// Has the memory for the first copy made ready while the training begins.
    pub fn reserve_memory(&mut self) {
        let sizes = self.sources().sizes();
        if let Some(saver) = &mut self.trainer.saver {
            saver.reserve(sizes);
        }
    }

    /// Copies a checkpoint and hands it to the saver. `value` is the monitored metric after an
    /// epoch with its validation.
    pub fn save(&mut self, value: Option<f64>) -> Result<()> {
        let generators = generators(self.trainer.model.network.device(), &self.trainer.strategy)?;
        let started = Instant::now();
        if let Some(saver) = &mut self.trainer.saver {
            self.trainer.observers.hurry();
            let (memory, written) = saver.memory();
            // Before the observers are asked for their states: theirs is to cover what is
            // announced.
            self.announce(written)?;
            let complete = self.trainer.observers.checkpoint_state();
            let (model, state) = self.copy(generators, memory)?;
            let snapshot = Snapshot {
                stamp: Stamp {
                    epoch: self.progress.at.epoch,
                    step: self.progress.at.step,
                    value,
                },
                model,
                state,
                complete,
                waited: started.elapsed(),
            };
            if let Some(saver) = &mut self.trainer.saver {
                saver.save(snapshot);
            }
        }
        self.trainer.policies.cadence.saved();
        Ok(())
    }

    fn copy(
        &mut self,
        generators: Vec<(String, Tensor)>,
        memory: Memory,
    ) -> Result<(ModelImage, StateImage)> {
        self.optimization.swap_averages();
        let copied = self.sources().copy(self.progress, generators, memory);
        self.optimization.swap_averages();
        copied
    }

    /// Saves what was trained before something other than the training failed, so that nothing is
    /// lost when that is fixed. Returns the error.
    pub fn rescue(&mut self, error: Error) -> Error {
        let step = self.progress.at.step;
        if step == 0 || self.progress.validated {
            return error; // There is a checkpoint of this step, and it has a metric.
        }
        let saved = self.save(None).and_then(|()| self.finish_saving());
        let observers = &mut self.trainer.observers;
        match saved.and_then(|()| observers.emit(&RunEvent::Rescued { step })) {
            Ok(()) => {}
            Err(also) => observers.warn(format!("what was trained can't be saved: {also}")),
        }
        error
    }

    /// Waits for the checkpoint that is being written.
    ///
    /// # Errors
    /// The last checkpoint could not be saved.
    pub fn finish_saving(&mut self) -> Result<()> {
        match &mut self.trainer.saver {
            Some(saver) => {
                let written = saver.finish()?;
                self.announce(written)
            }
            None => Ok(()),
        }
    }

    /// Announces a checkpoint that has been written meanwhile, if there is one.
    pub fn announce_written(&mut self) -> Result<()> {
        let written = self.trainer.saver.as_mut().and_then(|saver| saver.written());
        self.announce(written)
    }

    fn announce(&mut self, written: Option<Written>) -> Result<()> {
        let Some(written) = written else {
            return Ok(());
        };
        self.trainer.observers.emit(&RunEvent::Checkpoint(Checkpoint {
            path: written.path,
            epoch: written.stamp.epoch,
            step: written.stamp.step,
            is_best: written.is_best,
            waited: written.waited,
            written_in: written.written_in,
        }))
    }

    fn sources(&self) -> Sources<'_> {
        let trainer = &self.trainer;
        Sources {
            network: trainer.model.network,
            optimization: &self.optimization,
            monitor: &trainer.policies.monitor,
            preprocessor: &trainer.model.preprocessor,
            labels: trainer.model.labels,
            shape: trainer.batch_shape(),
            overfit_batches: trainer.data.overfit_batches,
        }
    }
}

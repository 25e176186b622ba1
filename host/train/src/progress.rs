//! How far a training has come.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Where the next step is in the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    pub epoch: u64,
    /// Batches of this epoch that are done.
    pub batch: usize,
    pub step: u64,
}

/// The position, the epoch's losses so far, and the last validation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Progress {
    #[serde(flatten)]
    pub at: Position,
    #[serde(default)]
    loss_sum: f64,
    #[serde(default)]
    losses: u64,
    /// Metrics of the last validation, with the mean training loss of its epoch.
    #[serde(default)]
    pub metrics: Map<String, Value>,
    /// Whether nothing was trained since that validation. Old checkpoints, which lack this field,
    /// were only saved after a validation.
    #[serde(default = "yes")]
    pub validated: bool,
}

fn yes() -> bool {
    true
}

impl Position {
    /// Steps from here to the end of the last of `epochs` epochs, with this many batches per epoch
    /// and per step.
    pub fn steps_left(self, epochs: u64, batches: usize, accumulate: usize) -> u64 {
        let steps = |batches: usize| batches.div_ceil(accumulate.max(1)) as u64;
        match epochs.checked_sub(self.epoch + 1) {
            Some(more) => steps(batches.saturating_sub(self.batch)) + more * steps(batches),
            None => 0,
        }
    }
}

impl Progress {
    /// Counts a step over `batches` batches.
    pub fn stepped(&mut self, batches: usize) {
        self.at.step += 1;
        self.at.batch += batches;
        self.validated = false;
    }

    /// Adds a step's loss to the epoch's mean.
    pub fn add_loss(&mut self, loss: f64) {
        self.loss_sum += loss;
        self.losses += 1;
    }

    /// Takes the metrics of a validation, and adds the epoch's mean loss to them.
    pub fn take_validation(&mut self, metrics: Map<String, Value>) {
        self.metrics = metrics;
        if self.losses > 0 {
            let mean = self.loss_sum / self.losses as f64;
            self.metrics.insert("train_loss".to_owned(), json!(mean));
        }
        self.validated = true;
    }

    /// Moves to the first batch of the next epoch.
    pub fn next_epoch(&mut self) {
        self.at = Position {
            epoch: self.at.epoch + 1,
            batch: 0,
            step: self.at.step,
        };
        (self.loss_sum, self.losses) = (0.0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_left_count_the_rest_of_the_epoch_and_all_later_ones() {
        let left = |epoch, batch, epochs| {
            let at = Position {
                epoch,
                batch,
                step: 99,
            };
            at.steps_left(epochs, 7, 2)
        };
        assert_eq!((left(0, 0, 3), left(0, 2, 3), left(1, 6, 3)), (12, 11, 5));
        assert_eq!((left(2, 7, 3), left(3, 0, 3), left(5, 0, 3)), (0, 0, 0));
        // Fewer batches than when the run was saved.
        assert_eq!(left(1, 9, 3), 4);
    }

    #[test]
    fn the_mean_loss_covers_one_epoch() {
        let mut progress = Progress::default();
        let validated = |progress: &mut Progress| {
            progress.take_validation(Map::new());
            progress.metrics.get("train_loss").and_then(Value::as_f64)
        };
        assert_eq!(validated(&mut progress), None);
        progress.stepped(1);
        progress.add_loss(1.0);
        assert!(!progress.validated);
        progress.stepped(1);
        progress.add_loss(2.0);
        assert_eq!(validated(&mut progress), Some(1.5));
        progress.next_epoch();
        let next = Position {
            epoch: 1,
            batch: 0,
            step: 2,
        };
        assert_eq!((progress.at, progress.validated), (next, true));
        assert_eq!(validated(&mut progress), None);
    }
}

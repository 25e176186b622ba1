//! When a checkpoint is due within an epoch.

use cvhost::config::TrainingConfig;
use std::time::{Duration, Instant};

/// Decides when a checkpoint is due within an epoch: by steps, by time, or both.
#[derive(Debug)]
pub struct Cadence {
    every_n_steps: Option<u64>,
    every: Option<Duration>,
    last: Instant,
}

impl Cadence {
    pub fn new(training: &TrainingConfig) -> Self {
        Cadence {
            every_n_steps: training.save_every_n_steps,
            every: training
                .save_every_minutes
                .and_then(|minutes| Duration::try_from_secs_f64(minutes * 60.0).ok()),
            last: Instant::now(),
        }
    }

    /// Whether a checkpoint is due after `step` steps.
    pub fn due(&self, step: u64) -> bool {
        self.every_n_steps.is_some_and(|n| step.is_multiple_of(n))
            || self.every.is_some_and(|every| self.last.elapsed() >= every)
    }

    /// Restarts the time until the next checkpoint.
    pub fn saved(&mut self) {
        self.last = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_by_steps_or_by_time() {
        let training = |steps, minutes| TrainingConfig {
            save_every_n_steps: steps,
            save_every_minutes: minutes,
            ..TrainingConfig::default()
        };
        let by_steps = Cadence::new(&training(Some(3), None));
        let due: Vec<u64> = (1..8).filter(|step| by_steps.due(*step)).collect();
        assert_eq!(due, [3, 6]);
        assert!(!Cadence::new(&training(None, None)).due(3));
        assert!(!Cadence::new(&training(None, Some(10.0))).due(3));
        let mut by_time = Cadence::new(&training(None, Some(10.0)));
        by_time.every = Some(Duration::ZERO);
        assert!(by_time.due(1));
    }
}

//! The learning rate over a run: a warmup, then a schedule. Both are computed per step.

use cvhost::config::{Scheduler, TrainingConfig};
use std::f64::consts::PI;

/// The learning rate as a function of the step.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    kind: Scheduler,
    rate: f64,
    warmup: u64,
    /// Steps from the end of the warmup to the schedule's end.
    span: u64,
    eta_min: f64,
    step_size: u64,
    gamma: f64,
}

impl Schedule {
    /// The schedule for a run of `total` steps, `per_epoch` of them an epoch. `T_max` and `step_size` count epochs.
    pub fn new(training: &TrainingConfig, total: u64, per_epoch: u64) -> Self {
        let warmup = if training.warmup < 1.0 {
            (training.warmup * total as f64).round() as u64
        } else {
            training.warmup as u64
        };
        let with = &training.scheduler_params;
        let rest = total.saturating_sub(warmup).max(1);
        Schedule {
            kind: training.scheduler,
            rate: training.learning_rate,
            warmup,
            span: with
                .t_max
                .map_or(rest, |epochs| (u64::from(epochs) * per_epoch).max(1)),
            eta_min: with.eta_min.unwrap_or(0.0),
            step_size: with.step_size.map_or_else(
                || (rest / 3).max(1),
                |epochs| (u64::from(epochs) * per_epoch).max(1),
            ),
            gamma: with.gamma.unwrap_or(0.1),
        }
    }

    /// The base learning rate of step `step`, the first being 0.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.rate * (step + 1) as f64 / self.warmup as f64;
        }
        let done = step - self.warmup;
        let progress = (done as f64 / self.span as f64).min(1.0);
        match self.kind {
            Scheduler::Cosine => {
                self.eta_min + (self.rate - self.eta_min) * 0.5 * (1.0 + (PI * progress).cos())
            }
            Scheduler::Linear => self.eta_min + (self.rate - self.eta_min) * (1.0 - progress),
            Scheduler::Step => self.rate * self.gamma.powf((done / self.step_size) as f64),
            Scheduler::Constant => self.rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: Scheduler, warmup: f64) -> Schedule {
        let training = TrainingConfig {
            scheduler: kind,
            warmup,
            learning_rate: 1.0,
            ..TrainingConfig::default()
        };
        Schedule::new(&training, 100, 10)
    }

    #[test]
    fn warmup_rises_linearly_and_ends_at_the_full_rate() {
        let s = schedule(Scheduler::Constant, 4.0);
        let rates: Vec<f64> = (0..5).map(|i| s.rate(i)).collect();
        assert_eq!(rates, [0.25, 0.5, 0.75, 1.0, 1.0]);
        assert_eq!(schedule(Scheduler::Constant, 0.1).rate(9), 1.0);
        assert!(schedule(Scheduler::Constant, 0.1).rate(8) < 1.0);
    }

    #[test]
    fn cosine_and_linear_go_from_the_rate_to_the_minimum() {
        for kind in [Scheduler::Cosine, Scheduler::Linear] {
            let s = schedule(kind, 0.0);
            assert_eq!(s.rate(0), 1.0);
            assert!((s.rate(50) - 0.5).abs() < 1e-12);
            assert!(s.rate(100) < 1e-12);
            assert!(s.rate(1000) < 1e-12);
        }
    }

    #[test]
    fn step_falls_by_gamma() {
        let training = TrainingConfig {
            scheduler: Scheduler::Step,
            scheduler_params: cvhost::config::SchedulerParams {
                step_size: Some(3),
                gamma: Some(0.5),
                ..Default::default()
            },
            learning_rate: 1.0,
            ..TrainingConfig::default()
        };
        let s = Schedule::new(&training, 100, 10);
        assert_eq!([s.rate(29), s.rate(30), s.rate(60)], [1.0, 0.5, 0.25]);
    }
}

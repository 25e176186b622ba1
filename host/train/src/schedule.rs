//! The learning rate over a run: a warmup, then a schedule. Both are computed per step.

use cvhost::config::{Scheduler, TrainingConfig};
use std::f64::consts::PI;

/// The learning rate as a function of the step.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    kind: Scheduler,
    rate: f64,
    warmup: u64,
    /// Steps from the end of the warmup to the end of the schedule.
    span: u64,
    eta_min: f64,
    step_size: u64,
    gamma: f64,
    /// Steps at which the rate drops.
    milestones: Vec<u64>,
    power: f64,
    cycle: Cycle,
    /// Added to the number of a step.
    shift: i64,
}

/// The parameters of `onecycle`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cycle {
    /// The fraction of the steps in which the rate rises.
    rise: f64,
    first: f64,
    last: f64,
}

impl Schedule {
    /// The schedule for a run of `total` steps with `per_epoch` steps per epoch. Where the
    /// configuration counts epochs, `step` and `multistep` count them from the start of the
    /// training, as their warmup is a factor on the rate; the others count from the end of the
    /// warmup.
    pub fn new(training: &TrainingConfig, total: u64, per_epoch: u64) -> Self {
        let warmup = if training.warmup < 1.0 {
            (training.warmup * total as f64).round() as u64
        } else {
            training.warmup as u64
        };
        let with = &training.scheduler_params;
        let in_steps = |epochs: u32| (u64::from(epochs) * per_epoch).max(1);
        Schedule {
            kind: training.scheduler,
            rate: training.learning_rate,
            warmup,
            span: with
                .t_max
                .map_or_else(|| total.saturating_sub(warmup).max(1), in_steps),
            eta_min: with.eta_min.unwrap_or(0.0),
            step_size: with.step_size.map_or_else(|| (total / 3).max(1), in_steps),
            gamma: with.gamma.unwrap_or(0.1),
            milestones: with.milestones.as_ref().map_or_else(
                || vec![total * 2 / 3, total * 9 / 10],
                |epochs| epochs.iter().copied().map(in_steps).collect(),
            ),
            power: with.power.unwrap_or(1.0),
            cycle: Cycle {
                rise: with.pct_start.unwrap_or(0.3),
                first: 1.0 / with.div_factor.unwrap_or(25.0),
                last: 1.0 / with.div_factor.unwrap_or(25.0) / with.final_div_factor.unwrap_or(1e4),
            },
            shift: 0,
        }
    }

    /// Steps of the warmup.
    pub fn warmup(&self) -> u64 {
        self.warmup
    }

    /// The same schedule with shifted numbers: step `n + shift` becomes step `n`.
    pub fn shifted(self, shift: i64) -> Self {
        Schedule { shift, ..self }
    }

    /// The base learning rate of step `step`, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        let step = step.saturating_add_signed(self.shift);
        let warm = if step < self.warmup {
            (step + 1) as f64 / self.warmup as f64
        } else {
            1.0
        };
        match self.kind {
            Scheduler::Constant => self.rate * warm,
            Scheduler::Step => self.rate * warm * self.gamma.powf((step / self.step_size) as f64),
            Scheduler::MultiStep => {
                let passed = self.milestones.iter().filter(|at| **at <= step).count();
                self.rate * warm * self.gamma.powi(passed as i32)
            }
            _ if step < self.warmup => self.rate * warm,
            _ => self.after_warmup(step - self.warmup),
        }
    }

    /// The rate of the schedules that start at the end of the warmup, `done` steps after it.
    fn after_warmup(&self, done: u64) -> f64 {
        let left = 1.0 - (done as f64 / self.span as f64).min(1.0);
        let fall = |part: f64| self.eta_min + (self.rate - self.eta_min) * part;
        match self.kind {
            Scheduler::Linear => fall(left),
            Scheduler::Polynomial => fall(left.powf(self.power)),
            Scheduler::OneCycle => {
                self.rate * self.cycle.factor(done as f64, self.span.saturating_sub(1) as f64)
            }
            _ => fall(0.5 * (1.0 + (PI * (1.0 - left)).cos())),
        }
    }
}

impl Cycle {
    /// The rate as a fraction of the highest one, `done` steps after the first of `end + 1` steps.
    /// Equals torch's OneCycleLR with `total_steps = end + 1`.
    fn factor(self, done: f64, end: f64) -> f64 {
        let top = (self.rise * (end + 1.0) - 1.0).max(0.0);
        let half_cosine = |from: f64, to: f64, progress: f64| {
            to + (from - to) * 0.5 * (1.0 + (PI * progress.clamp(0.0, 1.0)).cos())
        };
        if done <= top && top > 0.0 {
            half_cosine(self.first, 1.0, done / top)
        } else {
            half_cosine(1.0, self.last, (done - top) / (end - top).max(f64::MIN_POSITIVE))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::Recorded;

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
    fn every_schedule_is_that_of_torch() {
        use cvhost::config::SchedulerParams;
        let recorded = Recorded::load();
        let plain = SchedulerParams::default;
        let low = || SchedulerParams {
            eta_min: Some(0.05),
            ..plain()
        };
        let steps = || SchedulerParams {
            milestones: Some(vec![20, 70]),
            gamma: Some(0.3),
            ..plain()
        };
        let step = SchedulerParams {
            step_size: Some(30),
            gamma: Some(0.2),
            ..plain()
        };
        let squared = SchedulerParams {
            power: Some(2.0),
            ..plain()
        };
        let cycle = SchedulerParams {
            pct_start: Some(0.25),
            div_factor: Some(20.0),
            final_div_factor: Some(100.0),
            ..plain()
        };
        let cases = [
            ("cosine", Scheduler::Cosine, low(), 0.0),
            ("linear", Scheduler::Linear, low(), 0.0),
            ("step", Scheduler::Step, step.clone(), 0.0),
            ("multistep", Scheduler::MultiStep, steps(), 0.0),
            ("polynomial", Scheduler::Polynomial, squared, 0.0),
            ("onecycle", Scheduler::OneCycle, cycle, 0.0),
            ("constant", Scheduler::Constant, plain(), 0.0),
            ("warmed_cosine", Scheduler::Cosine, low(), 10.0),
            ("warmed_multistep", Scheduler::MultiStep, steps(), 10.0),
            ("warmed_step", Scheduler::Step, step, 10.0),
        ];
        for (name, scheduler, scheduler_params, warmup) in cases {
            let training = TrainingConfig {
                scheduler,
                scheduler_params,
                warmup,
                learning_rate: 0.5,
                ..TrainingConfig::default()
            };
            let schedule = Schedule::new(&training, 100, 1);
            for (at, expected) in recorded.rates(name).into_iter().enumerate() {
                let found = schedule.rate(at as u64);
                assert!(
                    (found - expected).abs() < 1e-6,
                    "{name}, step {at}: {found}, not {expected}"
                );
            }
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

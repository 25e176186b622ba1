//! The learning-rate range test (Smith 2017, "Cyclical Learning Rates for Training Neural
//! Networks"): training steps with exponentially rising rates, and the loss of each.
//!
//! Constants and rules are those of PyTorch Lightning's finder, which took them from fastai:
//! smoothing with 0.98 and bias correction; an end at four times the best loss; the suggestion is
//! where the smoothed loss falls most steeply, without the first ten steps and the last.

use super::optimizer::{Clip, GroupRules, Optimizer};
use super::scaler::Scaler;
use super::step::{StepSettings, step};
use super::trainer::no_batch;
use crate::pending::Values;
use crate::profile::Profile;
use crate::strategy::Single;
use cvhost::config::TrainingConfig;
use cvhost::error::Result;
use cvhost::interrupt;
use cvhost::progress::Pass;
use cvhost_data::{HostBatch, Loader};
use cvhost_plugin_api::sdk::Event;
use cvhost_torch::context::Moment;
use cvhost_torch::network::Network;

/// The learning rate of the first step.
const LOWEST: f64 = 1e-7;
/// The learning rate of the last step.
const HIGHEST: f64 = 1.0;
/// The weight of the previous smoothed loss in each step.
const SMOOTHING: f64 = 0.98;
/// The test ends when the smoothed loss exceeds this multiple of the best.
const DIVERGED: f64 = 4.0;
/// Steps that are never suggested: those at the start, where the smoothed loss is not smooth yet,
/// and those at the end.
const SKIP_FIRST: usize = 10;
const SKIP_LAST: usize = 1;
/// A fall by less than this fraction of the loss is noise.
const LEAST_FALL: f64 = 0.01;

/// A range test. The network can't be used for anything else afterwards.
pub struct RangeTest<'a> {
    pub network: &'a mut Network,
    pub train: Loader,
    pub training: &'a TrainingConfig,
    /// The loss scale, if the number format needs one.
    pub scaler: Option<Scaler>,
    pub steps: u32,
}

/// Rate, loss and smoothed loss of each step.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The base learning rates, which parameter groups multiply by their factors.
    pub rates: Vec<f64>,
    pub losses: Vec<f64>,
    pub smoothed: Vec<f64>,
    pub end: CurveEnd,
}

/// Why a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CurveEnd {
    /// All steps were done.
    Complete,
    /// The smoothed loss exceeded four times its best.
    Diverged,
    /// The loss or the gradients were not finite.
    NotFinite,
}

impl RangeTest<'_> {
    /// # Errors
    /// The errors of training steps; an interruption.
    pub fn run(mut self) -> Result<Curve> {
        let mut optimizer = Optimizer::new(self.network.parameters(), &GroupRules::new(self.training))?;
        let pass = Pass::new("find lr", u64::from(self.steps), 0);
        let mut smoothing = Smoothing::default();
        let mut curve = Curve {
            rates: Vec::new(),
            losses: Vec::new(),
            smoothed: Vec::new(),
            end: CurveEnd::Complete,
        };
        let mut epoch = 0;
        while curve.rates.len() < self.steps as usize {
            self.network.tell(&Event::EpochStart(epoch))?;
            let before = curve.rates.len();
            let mut batches = self.train.epoch(epoch, 0);
            while curve.rates.len() < self.steps as usize {
                if interrupt::requested() {
                    return Err(interrupt::error());
                }
                let accumulate = self.training.accumulate as usize;
                let mut window = batches
                    .by_ref()
                    .take(accumulate)
                    .collect::<Result<Vec<HostBatch>>>()?;
                if window.is_empty() {
                    break;
                }
                let number = curve.rates.len() as u32;
                let rate = rate(number, self.steps);
                let Some(loss) = self.step(&mut optimizer, &mut window, number, epoch, rate)? else {
                    curve.end = CurveEnd::NotFinite;
                    return Ok(curve);
                };
                let smoothed = smoothing.add(loss);
                curve.rates.push(rate);
                curve.losses.push(loss);
                curve.smoothed.push(smoothed);
                pass.step(|| format!("lr {rate:.1e}  loss {smoothed:.3}"));
                if diverged(&curve.smoothed) {
                    curve.end = CurveEnd::Diverged;
                    return Ok(curve);
                }
            }
            if curve.rates.len() == before {
                return Err(no_batch());
            }
            epoch += 1;
        }
        Ok(curve)
    }

    /// The loss of a step; `None` if it or the gradients are not finite. An overflow with a loss
    /// scale doesn't count as such: the scale is lowered and the weights stay unchanged.
    fn step(
        &mut self,
        optimizer: &mut Optimizer,
        window: &mut [HostBatch],
        number: u32,
        epoch: u64,
        rate: f64,
    ) -> Result<Option<f64>> {
        let settings = StepSettings {
            moment: Moment {
                step: u64::from(number),
                epoch,
                total_steps: u64::from(self.steps),
                ..Moment::default()
            },
            rate,
            clip: Clip::new(self.training),
            read_first: true,
            profile: &Profile::default(), // records nothing
        };
        let scaler = self.scaler.as_mut();
        let outcome = step(self.network, optimizer, scaler, window, settings, &Single)?;
        self.network.tell(&Event::StepEnd(u64::from(number) + 1))?;
        let values = match outcome.values {
            Values::Read(values) => values,
            Values::OnDevice(values) => values.read_one(&Single)?,
        };
        let usable = values.is_finite() || (values.overflow && values.loss.is_finite());
        Ok(usable.then_some(values.loss))
    }
}

/// The learning rate of step `number`, counted from 0.
fn rate(number: u32, steps: u32) -> f64 {
    let progress = f64::from(number) / f64::from(steps.saturating_sub(1).max(1));
    LOWEST * (HIGHEST / LOWEST).powf(progress)
}

/// An exponential moving average with bias correction.
#[derive(Debug, Default)]
struct Smoothing {
    average: f64,
    count: i32,
}

impl Smoothing {
    fn add(&mut self, value: f64) -> f64 {
        self.count += 1;
        self.average = SMOOTHING * self.average + (1.0 - SMOOTHING) * value;
        self.average / (1.0 - SMOOTHING.powi(self.count))
    }
}

/// Whether the last loss is far above the best. If the best loss is not positive, a multiple of it
/// is not worse, so nothing diverges.
fn diverged(smoothed: &[f64]) -> bool {
    let best = smoothed.iter().copied().fold(f64::INFINITY, f64::min);
    smoothed
        .last()
        .is_some_and(|last| best > 0.0 && *last > DIVERGED * best)
}

impl Curve {
    /// The step whose rate is suggested: where the smoothed loss falls most steeply. `None` if it
    /// doesn't fall, or if there are too few steps to tell.
    pub fn suggestion(&self) -> Option<usize> {
        let end = self.smoothed.len().saturating_sub(SKIP_LAST);
        let losses = self.smoothed.get(SKIP_FIRST..end)?;
        if losses.len() < 3 {
            return None;
        }
        let (first, lowest) = (losses[0], losses.iter().copied().fold(f64::INFINITY, f64::min));
        if first - lowest < LEAST_FALL * first.abs() {
            return None;
        }
        let steepest = slopes(losses)
            .into_iter()
            .enumerate()
            .min_by(|(_, a), (_, b)| a.total_cmp(b));
        steepest.map(|(at, _)| at + SKIP_FIRST)
    }
}

/// Central differences, one-sided at both ends, as numpy.gradient's.
fn slopes(values: &[f64]) -> Vec<f64> {
    let last = values.len() - 1;
    (0..=last)
        .map(|at| {
            let (from, to) = (at.saturating_sub(1), (at + 1).min(last));
            (values[to] - values[from]) / (to - from) as f64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A curve whose smoothed loss is `loss` of the rate's decimal logarithm.
    fn curve(steps: u32, loss: impl Fn(f64) -> f64) -> Curve {
        let rates: Vec<f64> = (0..steps).map(|number| rate(number, steps)).collect();
        let losses: Vec<f64> = rates.iter().map(|rate| loss(rate.log10())).collect();
        Curve {
            smoothed: losses.clone(),
            losses,
            rates,
            end: CurveEnd::Complete,
        }
    }

    fn suggested(curve: &Curve) -> Option<f64> {
        curve.suggestion().map(|at| curve.rates[at])
    }

    #[test]
    fn rates_rise_by_the_same_factor() {
        assert_eq!(rate(0, 8), 1e-7);
        assert!((rate(7, 8) - 1.0).abs() < 1e-12);
        assert!((rate(4, 8) / rate(3, 8) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn the_suggestion_is_where_the_loss_falls_most_steeply() {
        // A logistic fall is steepest in its middle, whatever follows.
        for middle in [-5.0, -3.5, -2.0] {
            let falls = |x: f64| 3.0 / (1.0 + ((x - middle) * 3.0).exp());
            let rises = |x: f64| ((x + 0.7) * 6.0).exp();
            let curve = curve(141, |x| 2.0 + falls(x) + rises(x));
            let found = suggested(&curve).unwrap().log10();
            assert!((found - middle).abs() <= 0.06, "{found}, not {middle}");
        }
    }

    #[test]
    fn a_loss_that_does_not_fall_suggests_nothing() {
        assert_eq!(suggested(&curve(100, |_| 4.0)), None);
        assert_eq!(suggested(&curve(100, |x| 4.0 + x.exp())), None);
        // A ripple of half a percent is noise.
        assert_eq!(
            suggested(&curve(100, |x| 4.0 + 0.01 * (x * 9.0).sin() + 0.1 * x.exp())),
            None
        );
        assert_eq!(suggested(&curve(12, |x| -x)), None, "too few steps");
    }

    #[test]
    fn the_first_steps_and_the_last_are_never_suggested() {
        let early = curve(100, |x| if x < -6.8 { 9.0 } else { 4.0 - 0.1 * x });
        assert!(early.suggestion().unwrap() >= SKIP_FIRST);
        let mut late = curve(100, |x| 4.0 - 0.1 * x);
        late.smoothed[99] = 0.0;
        assert!(late.suggestion().unwrap() < 98);
    }

    #[test]
    fn the_smoothed_loss_is_the_weighted_mean_of_all_previous_ones() {
        let losses = [5.0, 3.0, 8.0, 1.0, 1.5];
        let mut smoothing = Smoothing::default();
        for (at, loss) in losses.into_iter().enumerate() {
            let found = smoothing.add(loss);
            let weights: Vec<f64> = (0..=at).map(|i| 0.98f64.powi((at - i) as i32)).collect();
            let sum: f64 = weights.iter().zip(losses).map(|(w, l)| w * l).sum();
            let expected = sum / weights.iter().sum::<f64>();
            assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
        }
    }

    #[test]
    fn the_test_ends_at_four_times_the_best() {
        assert!(!diverged(&[3.0, 1.0, 3.9]));
        assert!(diverged(&[3.0, 1.0, 4.1]));
        assert!(!diverged(&[-1.0, 3.0]));
    }
}

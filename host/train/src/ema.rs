//! An exponential moving average of the weights. It varies less than the weights themselves, and is
//! what is evaluated and saved.

use crate::buffers::copy_of;
use cvhost::config::EmaParams;
use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::Parameter;
use cvhost_torch::scalars::torch_error;
use cvhost_torch::shim::average;
use tch::{Tensor, no_grad};

/// The averages of all parameters and buffers. Floating-point tensors follow `average ← decay ·
/// average + (1 − decay) · value`; integers, such as the counter of a batch norm, are copied.
pub struct Ema {
    numbers: EmaParams,
    entries: Vec<Entry>,
    /// Whether the live tensors hold the averages, and the entries the weights.
    swapped: bool,
}

struct Entry {
    name: String,
    /// The network's own tensor.
    live: Tensor,
    average: Tensor,
}

impl Ema {
    /// Starts with the present weights.
    ///
    /// # Errors
    /// There is no memory for the averages.
    pub fn new(parameters: &[Parameter], numbers: EmaParams) -> Result<Self> {
        let entries = parameters.iter().map(|parameter| {
            let live = parameter.tensor.tensor();
            Ok(Entry {
                name: parameter.name.to_string(),
                average: copy_of(&live).map_err(|e| torch_error("allocate the averaged weights", &e))?,
                live,
            })
        });
        Ok(Ema {
            entries: entries.collect::<Result<_>>()?,
            numbers,
            swapped: false,
        })
    }

    /// The factor on the average in step `step`, counted from 1.
    fn decay(&self, step: u64) -> f64 {
        let EmaParams { decay, tau } = self.numbers;
        if tau > 0.0 {
            decay * (1.0 - (-(step as f64) / tau).exp())
        } else {
            decay
        }
    }

    /// Averages the weights after step `step`. Doesn't wait for the device.
    pub fn update(&mut self, step: u64) -> Result<()> {
        let share = 1.0 - self.decay(step);
        let (mut averages, mut values) = (Vec::new(), Vec::new());
        for entry in &mut self.entries {
            if entry.average.is_floating_point() {
                averages.push(entry.average.shallow_clone());
                values.push(entry.live.detach());
            } else {
                no_grad(|| entry.average.f_copy_(&entry.live))
                    .map_err(|e| torch_error("average the weights", &e))?;
            }
        }
        average(&mut averages, &mut values, share)
    }

    /// Exchanges weights and averages in the network; a second call restores the weights bit for
    /// bit.
    pub fn swap(&mut self) {
        no_grad(|| {
            for entry in &mut self.entries {
                let weights = entry.live.data();
                entry.live.set_data(&entry.average);
                entry.average = weights;
            }
        });
        self.swapped = !self.swapped;
    }

    /// The weights themselves, wherever they are; a checkpoint's model holds the averages.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let weights = self.entries.iter().map(|entry| {
            let weights = if self.swapped { &entry.average } else { &entry.live };
            (format!("weights.{}", entry.name), weights.detach())
        });
        weights.collect()
    }

    /// Restores what [`Ema::state`] returned. The network holds the checkpoint's averages before,
    /// and the weights afterwards.
    ///
    /// # Errors
    /// The state lacks a weight, or has one of another shape.
    pub fn restore(&mut self, state: &[(String, Tensor)]) -> Result<()> {
        for entry in &mut self.entries {
            let name = format!("weights.{}", entry.name);
            let stored = state.iter().find(|(n, _)| *n == name).map(|(_, tensor)| tensor);
            let stored = stored
                .filter(|stored| stored.size() == entry.live.size())
                .ok_or_else(|| {
                    Error::input(format!("the training state lacks `{name}` of the model's shape"))
                        .with_help("`training.ema` or the model has changed since; start a new run from the checkpoint instead")
                })?;
            copy_of(&entry.live)
                .and_then(|averages| {
                    entry.average = averages;
                    no_grad(|| entry.live.f_data()?.f_copy_(stored))
                })
                .map_err(|e| torch_error("restore the averaged weights", &e))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::{Recorded, near, parameters};

    const AT_ONCE: EmaParams = EmaParams { decay: 0.9, tau: 0.0 };

    #[test]
    fn averages_equal_those_of_torch() {
        let recorded = Recorded::load();
        let live = recorded.start();
        let mut ema = Ema::new(&parameters(&live), AT_ONCE).unwrap();
        for (step, (gradients, expected)) in recorded.gradients().iter().zip(recorded.ema()).enumerate() {
            for (mut weight, gradient) in live.iter().map(Tensor::shallow_clone).zip(gradients) {
                let _ = no_grad(|| weight.g_add_(&(gradient * -0.1)));
            }
            ema.update(step as u64 + 1).unwrap();
            ema.swap();
            for (found, expected) in live.iter().zip(&expected) {
                near(found, expected, "ema");
            }
            ema.swap();
        }
    }

    #[test]
    fn swapping_twice_restores_the_bits_and_the_state_survives() {
        let live = vec![
            Tensor::from_slice(&[1.0f32, 2.0]).set_requires_grad(true),
            Tensor::from(3i64),
        ];
        let mut ema = Ema::new(&parameters(&live), AT_ONCE).unwrap();
        no_grad(|| {
            let _ = live[0].data().fill_(5.0);
            let _ = live[1].data().fill_(7);
        });
        ema.update(1).unwrap();
        let state = ema.state();
        ema.swap();
        let averages: Vec<f64> = Vec::try_from(&live[0].detach().to_kind(tch::Kind::Double)).unwrap();
        assert!((averages[0] - 1.4).abs() < 1e-6, "{averages:?}");
        assert_eq!(live[1].int64_value(&[]), 7, "whole numbers are copied");
        assert!(live[0].requires_grad());
        // A resumed run reads the averages from the model, and the weights from the state.
        let read = vec![live[0].detach().copy(), live[1].copy()];
        let mut resumed = Ema::new(&parameters(&read), AT_ONCE).unwrap();
        resumed.restore(&state).unwrap();
        ema.swap();
        assert!(read[0].equal(&live[0]) && read[1].equal(&live[1]));
        ema.update(2).unwrap();
        resumed.update(2).unwrap();
        ema.swap();
        resumed.swap();
        assert!(read[0].equal(&live[0]));
    }

    #[test]
    fn the_decay_rises_to_its_value() {
        let ema = Ema::new(&[], EmaParams::default()).unwrap();
        assert!(ema.decay(1) < 0.001);
        assert!((ema.decay(100_000) - 0.9999).abs() < 1e-9);
    }
}

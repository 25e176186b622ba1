//! The values of a step: its loss, the loss's parts, the norm of the gradients, and whether float16
//! overflowed.

use crate::strategy::Strategy;
use cvhost::error::Result;
use cvhost_torch::means::Means;
use cvhost_torch::network::Forward;
use cvhost_torch::scalars;
use tch::Tensor;

/// A step's values as numbers, over all ranks.
#[derive(Debug, Clone, PartialEq)]
pub struct StepValues {
    /// The mean over the window's batches, or their sum if they were normalised over the window.
    pub loss: f64,
    pub parts: Vec<(String, f64)>,
    /// The 2-norm over all gradients before any clipping; `None` without gradients.
    pub norm: Option<f64>,
    /// Whether the scaled gradients were too large for float16. Only with a loss scale.
    pub overflow: bool,
}

impl StepValues {
    /// Whether loss and gradients are finite, so that a step with them leaves the weights sound.
    pub fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.norm.is_none_or(f64::is_finite) && !self.overflow
    }
}

/// A step's values on the device where they were computed, of this rank alone.
pub struct DeviceValues {
    /// Float64: for each batch the loss and its parts, then the norm, then the overflow.
    vector: Tensor,
    /// The names of the parts, one list per batch.
    parts: Vec<Vec<String>>,
    /// What the sum over the window's batches is divided by: the number of batches of all ranks, or
    /// 1 if the losses are normalised over the window.
    divisor: f64,
    has_norm: bool,
    has_overflow: bool,
}

impl DeviceValues {
    /// Packs the values of a window's forward passes and of their gradients. Doesn't wait for the
    /// device.
    pub fn new(
        forwards: &[Forward],
        divisor: f64,
        norm: Option<&Tensor>,
        overflow: Option<&Tensor>,
    ) -> Result<Self> {
        let of_batches = forwards.iter().flat_map(|forward| {
            let parts = forward.parts.iter().map(|(_, value)| value);
            forward.loss.iter().chain(parts)
        });
        let names = |forward: &Forward| forward.parts.iter().map(|(name, _)| name.clone()).collect();
        Ok(DeviceValues {
            vector: scalars::pack(of_batches.chain(norm).chain(overflow))?,
            parts: forwards.iter().map(names).collect(),
            divisor,
            has_norm: norm.is_some(),
            has_overflow: overflow.is_some(),
        })
    }

    /// The values of several steps over all ranks, in one copy from the device. Waits for the
    /// device and for the other ranks.
    pub fn read<'a>(
        steps: impl IntoIterator<Item = &'a DeviceValues>,
        strategy: &impl Strategy,
    ) -> Result<Vec<StepValues>> {
        let steps: Vec<&DeviceValues> = steps.into_iter().collect();
        let vectors: Vec<&Tensor> = steps.iter().map(|step| &step.vector).collect();
        let mut numbers = scalars::read_all(&vectors)?.into_iter();
        let mut values: Vec<StepValues> = steps.into_iter().map(|step| step.named(&mut numbers)).collect();
        combine(&mut values, strategy)?;
        Ok(values)
    }

    /// Like [`DeviceValues::read`], but for this step alone.
    pub fn read_one(&self, strategy: &impl Strategy) -> Result<StepValues> {
        let numbers = scalars::read(&self.vector)?;
        let mut values = self.named(&mut numbers.into_iter());
        combine(std::slice::from_mut(&mut values), strategy)?;
        Ok(values)
    }

    /// Takes this step's numbers from the front.
    fn named(&self, numbers: &mut impl Iterator<Item = f64>) -> StepValues {
        let mut next = || numbers.next().unwrap_or(f64::NAN);
        let mut means = Means::default();
        for names in &self.parts {
            let loss = next();
            means.add_numbers(Some(loss), names.iter().map(|name| (name.as_str(), next())), 1);
        }
        let scale = self.parts.len() as f64 / self.divisor;
        let parts = means.parts().into_iter();
        StepValues {
            loss: means.loss() * scale,
            parts: parts.map(|(name, value)| (name, value * scale)).collect(),
            norm: self.has_norm.then(&mut next),
            overflow: self.has_overflow && next() != 0.0,
        }
    }
}

/// Adds up losses and parts over all ranks. A value that is not finite on one rank then is so on
/// all, and an overflow is one for all, so that every rank judges a step alike. The norm is that of
/// the exchanged gradients, which all ranks share.
fn combine(steps: &mut [StepValues], strategy: &impl Strategy) -> Result<()> {
    if strategy.world().size == 1 {
        return Ok(());
    }
    let numbers = steps.iter().flat_map(|step| {
        let parts = step.parts.iter().map(|(_, value)| *value);
        [step.loss, f64::from(step.overflow)].into_iter().chain(parts)
    });
    let mut sums: Vec<f64> = numbers.collect();
    strategy.sum(&mut sums)?;
    let mut sums = sums.into_iter();
    let mut next = || sums.next().unwrap_or(f64::NAN);
    for step in steps {
        step.loss = next();
        step.overflow = next() > 0.0;
        step.parts.iter_mut().for_each(|(_, value)| *value = next());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Single;

    fn forward(loss: f32, part: f64) -> Forward {
        Forward {
            loss: Some(Tensor::from(loss)),
            parts: vec![("loss_ce".to_owned(), Tensor::from(part))],
            outputs: Vec::new(),
        }
    }

    fn window(first: f32, divisor: f64, norm: Option<f32>, overflow: Option<f32>) -> DeviceValues {
        let forwards = [forward(first, 1.0), forward(2.0, 3.0)];
        let (norm, overflow) = (norm.map(Tensor::from), overflow.map(Tensor::from));
        DeviceValues::new(&forwards, divisor, norm.as_ref(), overflow.as_ref()).unwrap()
    }

    #[test]
    fn a_windows_loss_is_the_mean_or_the_sum_of_its_batches() {
        let windows = [
            window(1.0, 2.0, Some(0.5), None),
            window(1.0, 1.0, None, Some(1.0)),
            window(f32::NAN, 2.0, Some(0.5), Some(0.0)),
        ];
        let values = DeviceValues::read(&windows, &Single).unwrap();
        let expected = StepValues {
            loss: 1.5,
            parts: vec![("loss_ce".to_owned(), 2.0)],
            norm: Some(0.5),
            overflow: false,
        };
        assert_eq!(values[0], expected);
        let expected = StepValues {
            loss: 3.0,
            parts: vec![("loss_ce".to_owned(), 4.0)],
            norm: None,
            overflow: true,
        };
        assert_eq!(values[1], expected);
        assert!(values[2].loss.is_nan() && values[2].norm == Some(0.5) && !values[2].overflow);
        let finite: Vec<bool> = values.iter().map(StepValues::is_finite).collect();
        assert_eq!(finite, [true, false, false]);
    }
}

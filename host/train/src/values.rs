//! What a step found out: its loss, the loss's parts, the gradients' norm, whether float16 overflowed.

use cvhost::error::Result;
use cvhost_torch::means::Means;
use cvhost_torch::network::Forward;
use cvhost_torch::scalars;
use tch::Tensor;

/// A step's values as numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct StepValues {
    /// The mean over the window's batches.
    pub loss: f64,
    pub parts: Vec<(String, f64)>,
    /// The 2-norm over all gradients before any clipping; none without gradients.
    pub norm: Option<f64>,
    /// With a loss scale: the scaled gradients were too large for float16.
    pub overflow: bool,
}

impl StepValues {
    /// Whether loss and gradients are numbers, so that a step with them leaves the weights sound.
    pub fn finite(&self) -> bool {
        self.loss.is_finite() && self.norm.is_none_or(f64::is_finite) && !self.overflow
    }
}

/// A step's values where they were computed.
pub struct DeviceValues {
    /// Float64: of each batch the loss and its parts, then the norm, then the overflow.
    vector: Tensor,
    /// The parts' names, a list a batch.
    parts: Vec<Vec<String>>,
    /// The window's loss is the mean over its batches; else they are normalised over the window, and it is their sum.
    averaged: bool,
    has_norm: bool,
    has_overflow: bool,
}

impl DeviceValues {
    /// Of a window's forward passes, and of what came of their gradients; doesn't wait for the device.
    pub fn new(
        forwards: &[Forward],
        averaged: bool,
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
            averaged,
            has_norm: norm.is_some(),
            has_overflow: overflow.is_some(),
        })
    }

    /// The values of several steps as numbers, in one copy. Waits for the device.
    pub fn read<'a>(steps: impl IntoIterator<Item = &'a DeviceValues>) -> Result<Vec<StepValues>> {
        let steps: Vec<&DeviceValues> = steps.into_iter().collect();
        let vectors: Vec<&Tensor> = steps.iter().map(|step| &step.vector).collect();
        let mut numbers = scalars::read_all(&vectors)?.into_iter();
        Ok(steps.into_iter().map(|step| step.named(&mut numbers)).collect())
    }

    /// As [`DeviceValues::read`], of this step alone.
    pub fn read_one(&self) -> Result<StepValues> {
        let numbers = scalars::read(&self.vector)?;
        Ok(self.named(&mut numbers.into_iter()))
    }

    /// Takes this step's numbers from the front.
    fn named(&self, numbers: &mut impl Iterator<Item = f64>) -> StepValues {
        let mut next = || numbers.next().unwrap_or(f64::NAN);
        let mut means = Means::default();
        for names in &self.parts {
            let loss = next();
            means.add_numbers(Some(loss), names.iter().map(|name| (name.as_str(), next())), 1);
        }
        let scale = if self.averaged {
            1.0
        } else {
            self.parts.len() as f64
        };
        let parts = means.parts().into_iter();
        StepValues {
            loss: means.loss() * scale,
            parts: parts.map(|(name, value)| (name, value * scale)).collect(),
            norm: self.has_norm.then(&mut next),
            overflow: self.has_overflow && next() != 0.0,
        }
    }
}

/// A step's values, as numbers already or still where they were computed.
pub enum Values {
    Read(StepValues),
    OnDevice(DeviceValues),
}

/// A step that was made, and is not judged yet.
pub struct Made {
    pub step: u64,
    /// The names of its images.
    pub images: Vec<String>,
    pub values: StepValues,
}

/// So many steps may go on without a look at their values.
const MOST_UNREAD: usize = 32;

/// Steps whose values are read together, so that a GPU is not waited for at each of them.
pub struct Unread {
    steps: Vec<(u64, Vec<String>, Values)>,
    most: usize,
}

impl Unread {
    /// `at_once` reads each step's values by themselves.
    pub fn new(at_once: bool) -> Self {
        Unread {
            steps: Vec::new(),
            most: if at_once { 1 } else { MOST_UNREAD },
        }
    }

    /// Whether a step's values are to be read before its weights change.
    pub fn at_once(&self) -> bool {
        self.most == 1
    }

    pub fn add(&mut self, step: u64, images: Vec<String>, values: Values) {
        self.steps.push((step, images, values));
    }

    /// Whether it is time to read.
    pub fn full(&self) -> bool {
        self.steps.len() >= self.most
    }

    /// All steps in order, with their values.
    ///
    /// # Errors
    /// A computation of one of them failed on the device.
    pub fn take(&mut self) -> Result<Vec<Made>> {
        let steps = std::mem::take(&mut self.steps);
        let unread = steps.iter().filter_map(|(_, _, values)| match values {
            Values::OnDevice(values) => Some(values),
            Values::Read(_) => None,
        });
        let mut read = DeviceValues::read(unread)?.into_iter();
        let made = steps.into_iter().filter_map(|(step, images, values)| {
            let values = match values {
                Values::Read(values) => values,
                Values::OnDevice(_) => read.next()?,
            };
            Some(Made { step, images, values })
        });
        Ok(made.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(loss: f32, part: f64) -> Forward {
        Forward {
            loss: Some(Tensor::from(loss)),
            parts: vec![("loss_ce".to_owned(), Tensor::from(part))],
            outputs: Vec::new(),
        }
    }

    fn window(first: f32, averaged: bool, norm: Option<f32>, overflow: Option<f32>) -> DeviceValues {
        let forwards = [forward(first, 1.0), forward(2.0, 3.0)];
        let (norm, overflow) = (norm.map(Tensor::from), overflow.map(Tensor::from));
        DeviceValues::new(&forwards, averaged, norm.as_ref(), overflow.as_ref()).unwrap()
    }

    #[test]
    fn a_windows_loss_is_the_mean_or_the_sum_of_its_batches() {
        let windows = [
            window(1.0, true, Some(0.5), None),
            window(1.0, false, None, Some(1.0)),
            window(f32::NAN, true, Some(0.5), Some(0.0)),
        ];
        let values = DeviceValues::read(&windows).unwrap();
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
        let finite: Vec<bool> = values.iter().map(StepValues::finite).collect();
        assert_eq!(finite, [true, false, false]);
    }

    #[test]
    fn values_that_are_read_late_are_those_of_their_steps() {
        let mut unread = Unread::new(false);
        assert!(!unread.at_once());
        for step in 0..MOST_UNREAD as u64 {
            assert!(!unread.full());
            let values = window(step as f32, false, Some(1.0), None);
            let values = match step {
                3 => Values::Read(DeviceValues::read([&values]).unwrap().remove(0)),
                _ => Values::OnDevice(values),
            };
            unread.add(step, vec![format!("{step}.jpg")], values);
        }
        assert!(unread.full());
        for (number, made) in unread.take().unwrap().into_iter().enumerate() {
            assert_eq!(made.step, number as u64);
            assert_eq!(made.values.loss, number as f64 + 2.0);
            assert_eq!(made.images, [format!("{number}.jpg")]);
        }
        assert!(unread.take().unwrap().is_empty());
    }
}

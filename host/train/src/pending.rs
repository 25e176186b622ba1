//! Steps whose values have not been read yet.

use crate::strategy::Strategy;
use crate::values::{DeviceValues, StepValues};
use cvhost::error::Result;

/// A step's values, already read or still on the device.
pub enum Values {
    Read(StepValues),
    OnDevice(DeviceValues),
}

/// A step with its values, to be judged.
pub struct StepRecord {
    pub step: u64,
    /// The names of its images.
    pub images: Vec<String>,
    pub values: StepValues,
}

/// The maximum number of steps whose values are read together.
const MAX_PENDING: usize = 32;

/// Steps whose values are read together, so that a GPU doesn't have to be waited for at each of
/// them.
pub struct PendingSteps {
    steps: Vec<(u64, Vec<String>, Values)>,
    limit: usize,
}

impl PendingSteps {
    /// With `at_once` the values of each step are read by themselves.
    pub fn new(at_once: bool) -> Self {
        PendingSteps {
            steps: Vec::new(),
            limit: if at_once { 1 } else { MAX_PENDING },
        }
    }

    /// Whether a step's values are to be read before its weights change.
    pub fn at_once(&self) -> bool {
        self.limit == 1
    }

    pub fn add(&mut self, step: u64, images: Vec<String>, values: Values) {
        self.steps.push((step, images, values));
    }

    /// Whether it is time to read.
    pub fn is_full(&self) -> bool {
        self.steps.len() >= self.limit
    }

    /// All steps in order, with their values.
    ///
    /// # Errors
    /// A computation of one of them failed on the device.
    pub fn take(&mut self, strategy: &impl Strategy) -> Result<Vec<StepRecord>> {
        let steps = std::mem::take(&mut self.steps);
        let on_device = steps.iter().filter_map(|(_, _, values)| match values {
            Values::OnDevice(values) => Some(values),
            Values::Read(_) => None,
        });
        let mut read = DeviceValues::read(on_device, strategy)?.into_iter();
        let records = steps.into_iter().filter_map(|(step, images, values)| {
            let values = match values {
                Values::Read(values) => values,
                Values::OnDevice(_) => read.next()?,
            };
            Some(StepRecord { step, images, values })
        });
        Ok(records.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Single;
    use cvhost_torch::network::Forward;
    use tch::Tensor;

    fn values(loss: f32) -> DeviceValues {
        let forward = Forward {
            loss: Some(Tensor::from(loss)),
            parts: Vec::new(),
            outputs: Vec::new(),
        };
        DeviceValues::new(&[forward], 1.0, Some(&Tensor::from(1.0f32)), None).unwrap()
    }

    #[test]
    fn values_that_are_read_late_belong_to_their_steps() {
        let mut pending = PendingSteps::new(false);
        assert!(!pending.at_once());
        for step in 0..MAX_PENDING as u64 {
            assert!(!pending.is_full());
            let values = values(step as f32);
            let values = match step {
                3 => Values::Read(values.read_one(&Single).unwrap()),
                _ => Values::OnDevice(values),
            };
            pending.add(step, vec![format!("{step}.jpg")], values);
        }
        assert!(pending.is_full());
        let records = pending.take(&Single).unwrap();
        assert_eq!(records.len(), MAX_PENDING);
        for (number, record) in records.into_iter().enumerate() {
            assert_eq!(record.step, number as u64);
            assert_eq!(record.values.loss, number as f64);
            assert_eq!(record.images, [format!("{number}.jpg")]);
        }
        assert!(pending.take(&Single).unwrap().is_empty());
    }
}

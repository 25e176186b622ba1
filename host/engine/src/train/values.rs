//! What a step found out: its loss, the loss's parts, the gradients' norm, whether float16 overflowed.

use crate::evaluate::Means;
use crate::network::Forward;
use crate::scalars;
use cvhost::error::Result;
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

/// A step's values where they were computed, as one vector: reading them is one copy, and waits for the device.
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

    /// The values on the CPU.
    pub fn read(&self) -> Result<StepValues> {
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

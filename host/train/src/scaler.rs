//! The loss scale for float16.

use cvhost_torch::precision::Format;
use serde_json::{Value, json};

const GROWTH: f64 = 2.0;
const BACKOFF: f64 = 0.5;
const GROWTH_INTERVAL: u32 = 2000;

/// The factor on the loss in the backward pass, so that small gradients don't vanish in float16. It
/// doubles after 2000 steps without overflow and halves after one with an overflow, like
/// torch.amp.GradScaler.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaler {
    scale: f64,
    sound_steps: u32,
}

impl Default for Scaler {
    fn default() -> Self {
        Scaler {
            scale: 65536.0,
            sound_steps: 0,
        }
    }
}

impl Scaler {
    /// The loss scale for this format, if it needs one.
    pub fn of(format: Format) -> Option<Self> {
        format.needs_loss_scale().then(Self::default)
    }

    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Adapts the scale after a step, whose gradients were finite or not.
    pub fn update(&mut self, finite: bool) {
        if !finite {
            self.scale *= BACKOFF;
            self.sound_steps = 0;
            return;
        }
        self.sound_steps += 1;
        if self.sound_steps == GROWTH_INTERVAL {
            self.sound_steps = 0;
            let grown = self.scale * GROWTH;
            // A scale beyond float32 would make every loss infinite.
            if grown <= f64::from(f32::MAX) {
                self.scale = grown;
            }
        }
    }

    pub fn state(&self) -> Value {
        json!({"scale": self.scale, "sound_steps": self.sound_steps})
    }

    pub fn restore(&mut self, state: &Value) {
        if let (Some(scale), Some(steps)) = (state["scale"].as_f64(), state["sound_steps"].as_u64()) {
            self.scale = scale;
            self.sound_steps = u32::try_from(steps).unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::Recorded;

    #[test]
    fn the_loss_scale_changes_like_torchs() {
        let (finite, expected) = Recorded::load().scales();
        let mut scaler = Scaler::default();
        for (step, (finite, expected)) in finite.into_iter().zip(expected).enumerate() {
            scaler.update(finite);
            let mut resumed = Scaler::default();
            resumed.restore(&scaler.state());
            scaler = resumed;
            assert_eq!(scaler.scale(), expected, "step {step}");
        }
    }
}

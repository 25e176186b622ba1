//! `training.precision`: the number format of forward and backward passes, and the loss scale that float16 needs.

use crate::progress;
use crate::shim::{allow_tf32, gpu_has_bf16};
use cvhost::config::{Loaded, Precision};
use cvhost::error::Result;
use serde_json::{Value, json};
use tch::{Device, Kind};

/// What a precision means on a device. Weights, losses and optimizer stay in float32 whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// What autocast computes in; `None` for float32.
    pub autocast: Option<Kind>,
}

impl Format {
    /// The configured precision on this device. `auto` is bfloat16 on a GPU that has it, float16 on an older one, and float32 on
    /// the CPU; what it chose is told.
    ///
    /// # Errors
    /// TF32 on the CPU, which has none.
    pub fn choose(loaded: &Loaded, device: Device) -> Result<Self> {
        let gpu = matches!(device, Device::Cuda(_));
        let configured = loaded.config.training.precision;
        let precision = match configured {
            Precision::Auto if !gpu => Precision::Fp32,
            Precision::Auto if gpu_has_bf16(device)? => Precision::Bf16,
            Precision::Auto => Precision::Fp16,
            explicit => explicit,
        };
        if configured == Precision::Auto {
            progress::note(&format!("precision {}", name(precision)));
        }
        if precision == Precision::Tf32 && !gpu {
            return Err(loaded
                .error_at("training.precision", "the CPU has no TF32")
                .with_expected("fp32, bf16 or fp16 on a CPU")
                .with_help("set it to auto, which takes what suits the device"));
        }
        if gpu {
            allow_tf32(precision != Precision::Fp32)?;
        }
        Ok(Format {
            autocast: match precision {
                Precision::Bf16 => Some(Kind::BFloat16),
                Precision::Fp16 => Some(Kind::Half),
                Precision::Auto | Precision::Fp32 | Precision::Tf32 => None,
            },
        })
    }

    /// The loss scale, where the format needs one.
    pub fn scaler(self) -> Option<Scaler> {
        (self.autocast == Some(Kind::Half)).then(Scaler::default)
    }
}

fn name(precision: Precision) -> &'static str {
    match precision {
        Precision::Auto => "auto",
        Precision::Fp32 => "fp32",
        Precision::Tf32 => "tf32",
        Precision::Bf16 => "bf16",
        Precision::Fp16 => "fp16",
    }
}

const GROWTH: f64 = 2.0;
const BACKOFF: f64 = 0.5;
const GROWTH_INTERVAL: u32 = 2000;

/// What the loss is multiplied by before the backward pass, so that small gradients don't vanish in float16: doubled after 2000
/// sound steps, halved after one that overflows, as torch.amp.GradScaler does.
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
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Learns whether the step's gradients were finite.
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
    use crate::shim::autocast;
    use crate::train::recorded::Recorded;
    use tch::Tensor;

    #[test]
    fn the_loss_scale_goes_as_torchs() {
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

    #[test]
    fn autocast_is_on_inside_alone_and_off_after_an_error_or_a_panic() {
        let x = Tensor::ones([4, 4], (Kind::Float, Device::Cpu));
        let product = || Ok(x.matmul(&x).kind());
        assert_eq!(
            autocast(Device::Cpu, Kind::BFloat16, product).unwrap(),
            Kind::BFloat16
        );
        assert_eq!(autocast(Device::Cpu, Kind::Half, product).unwrap(), Kind::Half);
        let failed: Result<()> = autocast(Device::Cpu, Kind::BFloat16, || {
            Err(cvhost::error::Error::failed("no"))
        });
        assert!(failed.is_err());
        assert_eq!(product().unwrap(), Kind::Float);
        let panicked = std::panic::catch_unwind(|| {
            autocast::<()>(Device::Cpu, Kind::BFloat16, || panic!("a plugin's fault"))
        });
        assert!(panicked.is_err());
        assert_eq!(product().unwrap(), Kind::Float);
    }
}

//! `training.precision`: the number format of forward and backward passes.

use crate::shim::{allow_tf32, gpu_has_bf16};
use cvhost::config::{Loaded, Precision};
use cvhost::error::Result;
use cvhost::progress;
use tch::{Device, Kind};

/// The number format of a precision on a device. Weights, losses and optimizer state are always
/// float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The autocast dtype; `None` for float32.
    pub autocast: Option<Kind>,
}

impl Format {
    /// Resolves the configured precision for this device. `auto` means bfloat16 on a GPU that
    /// supports it, float16 on an older one, and float32 on the CPU; the choice is printed.
    ///
    /// # Errors
    /// TF32 was requested on the CPU, which doesn't support it.
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
                .error_at("training.precision", "the CPU doesn't support TF32")
                .with_expected("fp32, bf16 or fp16 on a CPU")
                .with_help("set it to auto, which chooses a format that the device supports"));
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

    /// Whether gradients can underflow in this format, so that the loss must be scaled.
    pub fn needs_loss_scale(self) -> bool {
        self.autocast == Some(Kind::Half)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shim::autocast;
    use tch::Tensor;

    #[test]
    fn autocast_is_only_on_inside_and_off_after_an_error_or_a_panic() {
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
            autocast::<()>(Device::Cpu, Kind::BFloat16, || panic!("a bug in a plugin"))
        });
        assert!(panicked.is_err());
        assert_eq!(product().unwrap(), Kind::Float);
    }
}

//! Batch normalisation (Ioffe and Szegedy 2015), in the two forms that a ResNet is used with.

use cvhost_plugin_api::torch::{Init, Scope};
use tch::{Tensor, no_grad};

const EPSILON: f64 = 1e-5;
/// How far a training batch moves the running statistics.
const MOMENTUM: f64 = 0.1;

/// What a network's batch norms are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Statistics, weight and bias are fixed: all four are buffers. For detectors, whose batches are too small to keep
    /// statistics.
    Frozen,
    /// Weight and bias are trained, and training keeps running statistics. One whose weight was frozen keeps those that it
    /// has: statistics that drift under fixed weights would change what the frozen layers compute.
    Trained,
}

pub(crate) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    /// How many batches the running statistics have seen; of a trained norm only.
    batches: Option<Tensor>,
}

impl BatchNorm {
    pub(crate) fn new(scope: &Scope, kind: NormKind, channels: i64) -> Self {
        let make = |name: &str, value: f64| match kind {
            NormKind::Frozen => scope.buffer(name, &[channels], Init::Constant(value)),
            NormKind::Trained => scope.no_decay(name, &[channels], Init::Constant(value)),
        };
        BatchNorm {
            weight: make("weight", 1.0),
            bias: make("bias", 0.0),
            running_mean: scope.buffer("running_mean", &[channels], Init::Constant(0.0)),
            running_var: scope.buffer("running_var", &[channels], Init::Constant(1.0)),
            batches: (kind == NormKind::Trained).then(|| scope.counter("num_batches_tracked")),
        }
    }

    /// In training: `x` `[N, C, H, W]`, which may be overwritten, normalised.
    pub(crate) fn train(&self, mut x: Tensor) -> Tensor {
        let Some(batches) = &self.batches else {
            let (scale, shift) = self.scale_and_shift();
            x *= scale.reshape([-1, 1, 1]);
            x += shift.reshape([-1, 1, 1]);
            return x;
        };
        // A single value a channel has no variance; it would leave NaN in the statistics.
        let single = x.numel() == self.weight.numel();
        let learns = self.weight.requires_grad() && !single;
        if learns {
            let _ = no_grad(|| batches.shallow_clone().g_add_scalar_(1));
        }
        x.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.running_mean),
            Some(&self.running_var),
            learns,
            MOMENTUM,
            EPSILON,
            true,
        )
    }

    /// The norm with its running statistics as `x · scale + shift`, `[C]` each, without a gradient.
    pub(crate) fn scale_and_shift(&self) -> (Tensor, Tensor) {
        no_grad(|| {
            let scale = &self.weight * (&self.running_var + EPSILON).rsqrt();
            let shift = &self.bias - &self.running_mean * &scale;
            (scale, shift)
        })
    }
}

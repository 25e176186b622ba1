//! Batch normalisation (Ioffe and Szegedy 2015), in the two variants used with ResNets.

use cvhost_plugin_api::torch::{Init, Scope};
use tch::{Tensor, no_grad};

const EPSILON: f64 = 1e-5;
/// Momentum of the running statistics.
const MOMENTUM: f64 = 0.1;

/// The kind of a network's batch norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Statistics, weight and bias are fixed: all four are buffers. For detectors, whose batches
    /// are too small for batch statistics.
    Frozen,
    /// Weight and bias are trained, and training updates running statistics. A norm whose weight is
    /// frozen keeps its statistics: if they drifted under fixed weights, the output of the frozen
    /// layers would change.
    Trained,
}

pub(crate) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    /// Number of batches in the running statistics; trained norms only.
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

    /// The forward pass in training: normalises `x` `[N, C, H, W]`, which may be overwritten.
    pub(crate) fn train(&self, mut x: Tensor) -> Tensor {
        let Some(batches) = &self.batches else {
            let (scale, shift) = self.scale_and_shift();
            x *= scale.reshape([-1, 1, 1]);
            x += shift.reshape([-1, 1, 1]);
            return x;
        };
        // A single value per channel has no variance; it would make the statistics NaN.
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

    /// The norm with its running statistics in the form `x · scale + shift`, `[C]` each, without
    /// gradients.
    pub(crate) fn scale_and_shift(&self) -> (Tensor, Tensor) {
        no_grad(|| {
            let scale = &self.weight * (&self.running_var + EPSILON).rsqrt();
            let shift = &self.bias - &self.running_mean * &scale;
            (scale, shift)
        })
    }
}

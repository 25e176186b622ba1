//! Layer normalisation.

use cvhost_plugin_api::torch::{Init, Scope};
use tch::Tensor;

/// Normalises over the last dimension (Ba et al. 2016).
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    size: i64,
    eps: f64,
}

impl LayerNorm {
    /// Creates `weight` and `bias`, `[size]` each, in `scope`.
    pub fn new(scope: &Scope, size: i64, eps: f64) -> Self {
        LayerNorm {
            weight: scope.no_decay("weight", &[size], Init::Constant(1.0)),
            bias: scope.no_decay("bias", &[size], Init::Constant(0.0)),
            size,
            eps,
        }
    }

    /// Normalises `[…, size]`; the shape is unchanged.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm([self.size], Some(&self.weight), Some(&self.bias), self.eps, true)
    }
}

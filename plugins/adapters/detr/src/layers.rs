//! Small layers that all parts share.

use crate::config::Activation;
use cvhost_plugin_api::torch::{Init, Scope};
use tch::Tensor;

/// A fully connected layer.
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub fn new(scope: &Scope, inputs: i64, outputs: i64, std: f64) -> Self {
        Linear {
            weight: scope.parameter("weight", &[outputs, inputs], Init::Normal { std }),
            bias: scope.no_decay("bias", &[outputs], Init::Constant(0.0)),
        }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }
}

/// Layer normalisation over the last dimension (Ba et al. 2016).
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    size: i64,
}

impl LayerNorm {
    pub fn new(scope: &Scope, size: i64) -> Self {
        LayerNorm {
            weight: scope.no_decay("weight", &[size], Init::Constant(1.0)),
            bias: scope.no_decay("bias", &[size], Init::Constant(0.0)),
            size,
        }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm([self.size], Some(&self.weight), Some(&self.bias), 1e-5, true)
    }
}

impl Activation {
    /// May overwrite `x`.
    pub fn apply(self, mut x: Tensor) -> Tensor {
        match self {
            Activation::Relu => x.relu_(),
            Activation::Gelu => x.gelu("none"),
            Activation::Silu => x.silu(),
        }
    }
}

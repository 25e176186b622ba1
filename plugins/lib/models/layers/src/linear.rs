//! Fully connected layers.

use cvhost_plugin_api::data::Tags;
use cvhost_plugin_api::torch::{Init, Scope};
use tch::Tensor;

/// `x · Wᵀ + b`.
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Creates `weight` `[outputs, inputs]`, drawn from a normal distribution, and `bias`
    /// `[outputs]`, zeros, in `scope`.
    pub fn new(scope: &Scope, inputs: i64, outputs: i64, std: f64) -> Self {
        Linear {
            weight: scope.parameter("weight", &[outputs, inputs], Init::Normal { std }),
            bias: Some(scope.no_decay("bias", &[outputs], Init::Constant(0.0))),
        }
    }

    /// Creates a layer without bias.
    pub fn without_bias(scope: &Scope, inputs: i64, outputs: i64, std: f64) -> Self {
        Linear {
            weight: scope.parameter("weight", &[outputs, inputs], Init::Normal { std }),
            bias: None,
        }
    }

    /// Creates weight and bias with torch's default initialisation: both uniform in ± 1 / √inputs.
    pub fn torch_default(scope: &Scope, inputs: i64, outputs: i64) -> Self {
        let bound = 1.0 / (inputs.max(1) as f64).sqrt();
        let (low, high) = (-bound, bound);
        Linear {
            weight: scope.parameter("weight", &[outputs, inputs], Init::FanInUniform),
            bias: Some(scope.no_decay("bias", &[outputs], Init::Uniform { low, high })),
        }
    }

    /// Maps `[…, inputs]` to `[…, outputs]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }
}

/// Three linear layers with ReLU in between: the head that DETR-style detectors apply to their
/// hidden states.
pub struct Mlp([Linear; 3]);

impl Mlp {
    /// Creates `layers.0` to `layers.2` in `scope`, from `inputs` to `outputs`. `last` are
    /// additional tags of the last layer's parameters.
    pub fn new(scope: &Scope, inputs: i64, outputs: i64, std: f64, last: Tags) -> Self {
        let layers = scope.sub("layers");
        Mlp([
            Linear::new(&layers.sub(0), inputs, inputs, std),
            Linear::new(&layers.sub(1), inputs, inputs, std),
            Linear::new(&layers.sub(2).tagged(last), inputs, outputs, std),
        ])
    }

    /// Maps `[…, inputs]` to `[…, outputs]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let [first, second, third] = &self.0;
        third.forward(&second.forward(&first.forward(x).relu()).relu())
    }
}

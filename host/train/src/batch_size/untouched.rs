//! Undoes the side effects of forward and backward passes.

use crate::buffers::Buffers;
use cvhost::error::Result;
use cvhost_plugin_api::data::Tags;
use cvhost_torch::network::Network;
use cvhost_torch::shim;
use tch::{Device, Tensor};

/// The state of a network and of the random generators before some passes. Passes change gradients,
/// buffers (running statistics) and generators, and an optimizer decides which parameters have
/// gradients; none of them changes a weight.
pub struct Untouched {
    generators: Vec<(Device, Tensor)>,
    buffers: Buffers,
    /// Each parameter, and whether it requires gradients.
    parameters: Vec<(Tensor, bool)>,
}

impl Untouched {
    pub fn of(network: &Network) -> Result<Self> {
        let mut untouched = Untouched {
            generators: Vec::new(),
            buffers: Buffers::of(network.parameters())?,
            parameters: Vec::new(),
        };
        for device in shim::generators_of(network.device()) {
            untouched.generators.push((device, shim::rng_state(device)?));
        }
        for parameter in network.parameters() {
            let tensor = parameter.tensor.tensor();
            if !parameter.tags.has(Tags::BUFFER) {
                let trained = tensor.requires_grad();
                untouched.parameters.push((tensor, trained));
            }
        }
        Ok(untouched)
    }

    /// Restores everything.
    pub fn restore(mut self) -> Result<()> {
        shim::clear_gradients(self.parameters.iter_mut().map(|(tensor, _)| tensor))?;
        for (tensor, trained) in &self.parameters {
            let _ = tensor.set_requires_grad(*trained);
        }
        self.buffers.restore()?;
        for (device, state) in &self.generators {
            shim::set_rng_state(*device, state)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost_plugin_api::data::{Parameter, TensorHandle};
    use tch::Kind;

    #[test]
    fn generators_buffers_and_gradients_are_restored() {
        let parameter = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let frozen = Tensor::ones([2], (Kind::Float, Device::Cpu));
        let mut buffer = Tensor::from_slice(&[1.5f32, 2.5]);
        let entry = Parameter {
            name: "mean".into(),
            aliases: Default::default(),
            tensor: TensorHandle::new(buffer.shallow_clone()),
            tags: Tags::BUFFER,
            depth: 0,
            extra: Default::default(),
        };
        let untouched = Untouched {
            generators: vec![(Device::Cpu, shim::rng_state(Device::Cpu).unwrap())],
            buffers: Buffers::of(&[entry]).unwrap(),
            parameters: vec![(parameter.shallow_clone(), true), (frozen.shallow_clone(), false)],
        };
        let first = Tensor::rand([3], (Kind::Float, Device::Cpu));
        parameter.sum(Kind::Float).backward();
        let _ = buffer.fill_(7.0);
        let _ = parameter.set_requires_grad(false);
        let _ = frozen.set_requires_grad(true);
        untouched.restore().unwrap();
        assert!(!parameter.grad().defined());
        assert!(parameter.requires_grad() && !frozen.requires_grad());
        assert_eq!(buffer, Tensor::from_slice(&[1.5f32, 2.5]));
        assert_eq!(Tensor::rand([3], (Kind::Float, Device::Cpu)), first);
    }
}

//! Buffers of a network, such as a batch norm's running statistics, which forward passes change.

use cvhost::error::Result;
use cvhost_plugin_api::data::{Parameter, Tags};
use cvhost_torch::scalars::torch_error;
use tch::{TchError, Tensor, no_grad};

/// A network's buffers, each with a copy.
pub struct Buffers(Vec<(Tensor, Tensor)>);

impl Buffers {
    /// The present buffers of a network.
    ///
    /// # Errors
    /// There is no memory for the copies.
    pub fn of(parameters: &[Parameter]) -> Result<Self> {
        let buffers = parameters.iter().filter(|p| p.tags.has(Tags::BUFFER));
        buffers
            .map(|buffer| {
                let live = buffer.tensor.tensor();
                Ok((live.shallow_clone(), copy_of(&live)?))
            })
            .collect::<Result<_, TchError>>()
            .map(Buffers)
            .map_err(|e| torch_error("copy the model's buffers", &e))
    }

    /// Copies the present buffers. Doesn't wait for the device.
    pub fn remember(&mut self) -> Result<()> {
        let mut copies = self.0.iter_mut();
        copies
            .try_for_each(|(live, copy)| no_grad(|| copy.f_copy_(live)).map(drop))
            .map_err(|e| torch_error("copy the model's buffers", &e))
    }

    /// Restores the copies. Doesn't wait for the device.
    pub fn restore(&mut self) -> Result<()> {
        let mut copies = self.0.iter_mut();
        copies
            .try_for_each(|(live, copy)| no_grad(|| live.f_copy_(copy)).map(drop))
            .map_err(|e| torch_error("restore the model's buffers", &e))
    }
}

/// A copy of a tensor, outside of any graph.
pub fn copy_of(tensor: &Tensor) -> Result<Tensor, TchError> {
    no_grad(|| {
        let mut copy = tensor.f_empty_like()?.f_set_requires_grad(false)?;
        copy.f_copy_(tensor)?;
        Ok(copy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost_plugin_api::data::TensorHandle;

    #[test]
    fn buffers_are_restored_and_weights_are_not_changed() {
        let entry = |tensor: &Tensor, tags| Parameter {
            name: "p".into(),
            aliases: Default::default(),
            tensor: TensorHandle::new(tensor.shallow_clone()),
            tags,
            depth: 0,
            extra: Default::default(),
        };
        let (mut mean, mut weight) = (Tensor::from(1.5f32), Tensor::from(1.5f32));
        let parameters = [entry(&mean, Tags::BUFFER), entry(&weight, Tags::NONE)];
        let mut buffers = Buffers::of(&parameters).unwrap();
        let _ = (mean.fill_(2.5), weight.fill_(2.5));
        buffers.restore().unwrap();
        let value = |tensor: &Tensor| tensor.double_value(&[]);
        assert_eq!((value(&mean), value(&weight)), (1.5, 2.5));
        let _ = mean.fill_(3.5);
        buffers.remember().unwrap();
        let _ = mean.fill_(f64::NAN);
        buffers.restore().unwrap();
        assert_eq!(value(&mean), 3.5);
    }
}

//! An adapter's model as the trainer uses it.

use crate::precision::Format;
use crate::scalars::torch_error;
use crate::shim::autocast;
use cvhost::error::{Error, Result};
use cvhost::plugin_error::checked;
use cvhost_plugin_api::abi::ModelBox;
use cvhost_plugin_api::abi_stable::std_types::{RSlice, RStr, RString};
use cvhost_plugin_api::data::{Batch, Fields, Meta, Mode, NamedTensor, Parameter, StepContext};
use cvhost_plugin_api::sdk::Event;
use serde_json::Value;
use tch::{Device, Kind, Tensor, no_grad};

/// A model with its parameters on a device.
pub struct Network {
    model: ModelBox,
    parameters: Vec<Parameter>,
    device: Device,
    /// What forward passes compute in, where it isn't float32.
    autocast: Option<Kind>,
}

/// What one forward pass gave.
pub struct Forward {
    pub loss: Option<Tensor>,
    /// The loss's parts, detached scalars.
    pub parts: Vec<(String, Tensor)>,
    pub outputs: Vec<NamedTensor>,
}

impl Network {
    /// Takes a new model; its parameters are not filled yet.
    pub fn new(model: ModelBox) -> Result<Self> {
        let parameters = checked(model.parameters())?.into_vec();
        Ok(Network {
            model,
            parameters,
            device: Device::Cpu,
            autocast: None,
        })
    }

    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    pub fn device(&self) -> Device {
        self.device
    }

    /// How many numbers the parameters and buffers hold.
    pub fn size(&self) -> usize {
        self.parameters.iter().map(|p| p.tensor.tensor().numel()).sum()
    }

    /// Fills parameters by their own rules.
    pub fn initialise(&mut self, names: &[String]) -> Result<()> {
        let names: Vec<RString> = names.iter().map(|n| n.as_str().into()).collect();
        checked(self.model.initialise(RSlice::from_slice(&names)))
    }

    /// Fills all parameters by their own rules: training from scratch.
    pub fn initialise_all(&mut self) -> Result<()> {
        let names: Vec<String> = self.parameters.iter().map(|p| p.name.to_string()).collect();
        self.initialise(&names)
    }

    /// Moves all parameters and buffers.
    pub fn to_device(&mut self, device: Device) -> Result<()> {
        move_to(&self.parameters, device)?;
        self.device = device;
        self.tell(&Event::Device(device_name(device)))
    }

    /// Sets what forward passes compute in.
    pub fn set_format(&mut self, format: Format) {
        self.autocast = format.autocast;
    }

    pub fn format(&self) -> Format {
        Format {
            autocast: self.autocast,
        }
    }

    pub fn tell(&mut self, event: &Event) -> Result<()> {
        checked(self.model.on_event(RStr::from_str(&event.to_json().to_string())))
    }

    /// The batch's loss normalisers; empty where the model has none.
    pub fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        Ok(checked(self.model.normalisers(batch))?.into_vec())
    }

    pub fn forward(&mut self, batch: &Batch, context: &StepContext) -> Result<Forward> {
        let mut forward = || context.lend(|c| checked(self.model.forward(batch, c)));
        let output = match self.autocast {
            Some(kind) => autocast(self.device, kind, forward),
            None => forward(),
        }?;
        let loss = output.loss.into_option().map(|handle| handle.tensor());
        if let Some(loss) = &loss {
            expect_scalar(loss, "a loss")?;
        }
        if loss.is_none() && context.mode != Mode::PREDICT {
            return Err(Error::failed("the model returned no loss")
                .with_help("this is a fault of the adapter plugin; tell its authors"));
        }
        let parts: Vec<_> = output
            .parts
            .iter()
            .map(|p| (p.name.to_string(), p.tensor.tensor()))
            .collect();
        for (name, part) in &parts {
            expect_scalar(part, &format!("the loss's part `{name}`"))?;
        }
        Ok(Forward {
            loss,
            parts,
            outputs: output.outputs.into_vec(),
        })
    }

    /// Converts raw outputs to predictions in original pixels, one per sample. `options` is a JSON
    /// object such as `{"threshold": 0.5}`.
    pub fn finish(
        &mut self,
        outputs: &[NamedTensor],
        metas: &[Meta],
        options: &Value,
    ) -> Result<Vec<Fields>> {
        let options = options.to_string();
        let result = self.model.finish(
            RSlice::from_slice(outputs),
            RSlice::from_slice(metas),
            RStr::from_str(&options),
        );
        let predictions = checked(result)?.into_vec();
        if predictions.len() != metas.len() {
            return Err(Error::failed(format!(
                "the model returned predictions for {} images of a batch of {}",
                predictions.len(),
                metas.len()
            ))
            .with_help("this is a fault of the adapter plugin; tell its authors"));
        }
        Ok(predictions)
    }

    /// The `config.json` to save.
    pub fn config(&self) -> Result<Value> {
        let text = checked(self.model.config_json())?;
        serde_json::from_str(&text)
            .map_err(|e| Error::failed(format!("the adapter's config.json is not valid JSON: {e}")))
    }
}

fn expect_scalar(tensor: &Tensor, what: &str) -> Result<()> {
    if tensor.defined() && tensor.numel() == 1 {
        return Ok(());
    }
    let found = if tensor.defined() {
        format!("of shape {:?}", tensor.size())
    } else {
        "that is undefined".to_owned()
    };
    Err(Error::failed(format!("the model returned {what} {found}"))
        .with_expected("a scalar")
        .with_help("this is a fault of the adapter plugin; tell its authors"))
}

/// `cpu` or `cuda:N`.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

/// Moves parameters to a device in place: who holds them sees the moved data. Fails as libtorch does: out of memory.
fn move_to(parameters: &[Parameter], device: Device) -> Result<()> {
    for parameter in parameters {
        let mut tensor = parameter.tensor.tensor();
        if tensor.device() != device {
            let moved = no_grad(|| tensor.f_to_device(device))
                .map_err(|e| torch_error(&format!("move `{}` to {device:?}", parameter.name), &e))?;
            no_grad(|| tensor.set_data(&moved));
        }
    }
    Ok(())
}

//! Wraps the model of an adapter plugin for the host.

use crate::precision::Format;
use crate::scalars::torch_error;
use crate::shim::autocast;
use cvhost::error::{Error, Result};
use cvhost::plugin_error::checked;
use cvhost_plugin_api::abi::ModelBox;
use cvhost_plugin_api::abi_stable::std_types::{RSlice, RStr};
use cvhost_plugin_api::data::{Batch, Fields, Meta, Mode, NamedTensor, Parameter, StepContext, Text};
use cvhost_plugin_api::sdk::{Event, FinishArgs};
use serde_json::Value;
use tch::{Device, Kind, Tensor, no_grad};

/// A model with its parameters on a device.
pub struct Network {
    model: ModelBox,
    parameters: Vec<Parameter>,
    device: Device,
    /// The autocast dtype of forward passes; `None` for float32.
    autocast: Option<Kind>,
}

/// The result of a forward pass.
pub struct Forward {
    pub loss: Option<Tensor>,
    /// The parts of the loss, as detached scalars.
    pub parts: Vec<(String, Tensor)>,
    pub outputs: Vec<NamedTensor>,
}

impl Network {
    /// Wraps a new model. Its parameters are not initialised yet.
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

    /// The total number of elements in the parameters and buffers.
    pub fn size(&self) -> usize {
        self.parameters.iter().map(|p| p.tensor.tensor().numel()).sum()
    }

    /// Initialises the named parameters by the model's own rules.
    pub fn initialise(&mut self, names: &[String]) -> Result<()> {
        let names: Vec<Text> = names.iter().map(Text::from).collect();
        checked(self.model.initialise(RSlice::from_slice(&names)))
    }

    /// Initialises all parameters by the model's own rules, for training from scratch.
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

    /// Sets the number format of forward passes.
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

    /// The loss normalisers of the batch; empty if the model has none.
    pub fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        Ok(checked(self.model.normalisers(batch))?.into_vec())
    }

    pub fn forward(&mut self, batch: &Batch, context: &StepContext<'_>) -> Result<Forward> {
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
                .with_help("this is a bug in the adapter plugin; report it to its authors"));
        }
        let parts: Vec<_> = output
            .parts
            .iter()
            .map(|p| (p.name.to_string(), p.tensor.tensor()))
            .collect();
        for (name, part) in &parts {
            expect_scalar(part, &format!("the loss part `{name}`"))?;
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
        let args = FinishArgs::new(outputs, metas, options.clone());
        let predictions = args.lend(|args| checked(self.model.finish(args)))?.into_vec();
        if predictions.len() != metas.len() {
            return Err(Error::failed(format!(
                "the model returned predictions for {} images of a batch of {}",
                predictions.len(),
                metas.len()
            ))
            .with_help("this is a bug in the adapter plugin; report it to its authors"));
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
        .with_help("this is a bug in the adapter plugin; report it to its authors"))
}

/// `cpu` or `cuda:N`.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

/// Moves parameters to a device in place, so that all holders see the moved data. Fails if libtorch
/// does, for example when out of memory.
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

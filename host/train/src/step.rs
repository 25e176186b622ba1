//! One optimizer step over an accumulation window of batches.

use crate::optimizer::{Clip, Optimizer};
use crate::profile::Profile;
use crate::scaler::Scaler;
use crate::values::{DeviceValues, Values};
use cvhost::error::{Error, Result};
use cvhost::progress::gigabytes;
use cvhost_data::HostBatch;
use cvhost_plugin_api::data::Batch;
use cvhost_torch::batch::to_batch;
use cvhost_torch::context::{self, Moment};
use cvhost_torch::network::Network;
use cvhost_torch::scalars::torch_error;
use cvhost_torch::shim::{GpuMemory, gpu_memory};
use tch::{Device, TchError, Tensor};

/// The circumstances of a step.
#[derive(Clone, Copy)]
pub struct StepSettings<'a> {
    pub moment: Moment,
    pub rate: f64,
    pub clip: Clip,
    /// Read the values before the weights change: where they are no numbers or overflow, the weights are left as they are. It waits for
    /// the device.
    pub read_first: bool,
    pub profile: &'a Profile,
}

/// What became of a step.
pub struct Step {
    pub values: Values,
    /// The weights have changed.
    pub changed: bool,
}

/// Forward and backward over the window's batches, then clipping and the optimizer's step.
pub fn step(
    network: &mut Network,
    optimizer: &mut Optimizer,
    scaler: Option<&mut Scaler>,
    window: &mut [HostBatch],
    settings: StepSettings<'_>,
) -> Result<Step> {
    let device = network.device();
    steps_of(network, optimizer, scaler, window, settings)
        .map_err(|error| explain_memory(error, window, device))
}

fn steps_of(
    network: &mut Network,
    optimizer: &mut Optimizer,
    scaler: Option<&mut Scaler>,
    window: &mut [HostBatch],
    settings: StepSettings<'_>,
) -> Result<Step> {
    let device = network.device();
    let profile = settings.profile;
    let span = profile.span("to device");
    let batches = window
        .iter_mut()
        .map(|b| to_batch(b, device))
        .collect::<Result<Vec<Batch>>>()?;
    drop(span);
    let span = profile.span("forward");
    let normalisers = window_normalisers(network, &batches)?;
    let averaged = normalisers.is_empty();
    let context = context::training(settings.moment, normalisers);
    drop(span);
    let scale = scaler.as_ref().map(|scaler| scaler.scale());
    let mut forwards = Vec::with_capacity(batches.len());
    for batch in &batches {
        let span = profile.span("forward");
        let mut forward = network.forward(batch, &context)?;
        drop(span);
        let _span = profile.span("backward");
        if let Some(loss) = forward.loss.take() {
            let count = averaged.then_some(batches.len());
            backward(&loss, count, scale).map_err(|e| torch_error("run the backward pass", &e))?;
            forward.loss = Some(loss.detach());
        }
        forward.outputs.clear(); // so that the graph's memory goes before the next batch
        forwards.push(forward);
    }
    let _span = profile.span("optimizer");
    let overflow = match scale {
        Some(scale) => optimizer.unscale(scale)?,
        None => None,
    };
    let norm = optimizer.clip(settings.clip)?;
    let values = DeviceValues::new(&forwards, averaged, norm.as_ref(), overflow.as_ref())?;
    let (values, changed) = if settings.read_first {
        let values = values.read_one()?;
        let (finite, overflow) = (values.finite(), values.overflow);
        scaler.into_iter().for_each(|scaler| scaler.update(!overflow));
        (Values::Read(values), finite)
    } else {
        (Values::OnDevice(values), true)
    };
    if changed {
        optimizer.step(settings.rate)?;
    }
    optimizer.clear_gradients()?;
    Ok(Step { values, changed })
}

/// The gradients of the loss, divided by the number of batches that it is averaged over and multiplied by the loss scale.
fn backward(loss: &Tensor, count: Option<usize>, scale: Option<f64>) -> Result<(), TchError> {
    let mut loss = loss.shallow_clone();
    if let Some(count) = count {
        loss = loss.f_div_scalar(count as f64)?;
    }
    if let Some(scale) = scale {
        loss = loss.f_mul_scalar(scale)?;
    }
    loss.f_backward()
}

/// Memory that ran out is no fault of a plugin: what was tried, and what to lower.
fn explain_memory(error: Error, window: &[HostBatch], device: Device) -> Error {
    if !cvhost_torch::memory::ran_out(&error) {
        return error;
    }
    let text = error.to_string();
    let images = window.iter().map(|b| b.metas.len()).max().unwrap_or(0);
    let metas = || window.iter().flat_map(|b| b.metas.iter());
    let width = metas().map(|m| m.input_width).max().unwrap_or(0);
    let height = metas().map(|m| m.input_height).max().unwrap_or(0);
    let mut details = vec![text.lines().next().unwrap_or_default().to_owned()];
    if let Ok(GpuMemory {
        allocated,
        allocated_peak,
        reserved,
        ..
    }) = gpu_memory(device)
    {
        let [allocated, peak, reserved] = [allocated, allocated_peak, reserved].map(gigabytes);
        details.push(format!(
            "GPU memory of this process: {allocated} in tensors, at most {peak} so far, {reserved} held by libtorch"
        ));
    }
    Error::failed(format!(
        "the memory doesn't suffice for a step with {images} images of up to {width}x{height}"
    ))
    .with_details(details)
    .with_help(
        "lower data.batch_size (auto finds what fits, training.accumulate makes up for it) or data.image_size, or set \
         training.precision to auto; the last checkpoint is kept, and --resume goes on from it",
    )
}

/// The sums of the batches' normalisers; empty where the model has none.
fn window_normalisers(network: &Network, batches: &[Batch]) -> Result<Vec<f64>> {
    let mut sums: Vec<f64> = Vec::new();
    for batch in batches {
        let values = network.normalisers(batch)?;
        sums.resize(sums.len().max(values.len()), 0.0);
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value;
        }
    }
    Ok(sums)
}

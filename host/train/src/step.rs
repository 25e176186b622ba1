//! One optimizer step over an accumulation window of batches.

use crate::optimizer::{Clip, Optimizer};
use crate::pending::Values;
use crate::profile::Profile;
use crate::scaler::Scaler;
use crate::strategy::Strategy;
use crate::values::DeviceValues;
use cvhost::error::{Error, Result};
use cvhost::progress::gigabytes;
use cvhost_data::HostBatch;
use cvhost_plugin_api::data::Batch;
use cvhost_torch::batch::to_batch;
use cvhost_torch::context::{self, Moment};
use cvhost_torch::network::{Forward, Network};
use cvhost_torch::scalars::torch_error;
use cvhost_torch::shim::{GpuMemory, gpu_memory};
use tch::{Device, TchError, Tensor};

/// The circumstances of a step.
#[derive(Clone, Copy)]
pub struct StepSettings<'a> {
    pub moment: Moment,
    /// The base learning rate.
    pub rate: f64,
    pub clip: Clip,
    /// Whether to read the values before the weights change, and to leave the weights unchanged if
    /// the values are not finite or overflow. This waits for the device.
    pub read_first: bool,
    pub profile: &'a Profile,
}

/// The outcome of a step.
pub struct StepOutcome {
    pub values: Values,
    /// Whether the weights have changed.
    pub changed: bool,
}

/// Runs forward and backward over the window's batches, then clips and steps the optimizer.
///
/// # Errors
/// Those of the model and of libtorch; if memory ran out, the sizes of the images and what to
/// lower.
pub fn step(
    network: &mut Network,
    optimizer: &mut Optimizer,
    scaler: Option<&mut Scaler>,
    window: &mut [HostBatch],
    settings: StepSettings<'_>,
    strategy: &impl Strategy,
) -> Result<StepOutcome> {
    let device = network.device();
    let scale = scaler.as_ref().map(|scaler| scaler.scale());
    let gradients = accumulate(network, window, scale, settings, strategy);
    gradients
        .and_then(|values| update(optimizer, scaler, values, settings, strategy))
        .map_err(|error| explain_memory(error, window, device))
}

/// What the forward passes of a window gave. Its gradients are in the parameters.
struct Accumulated {
    forwards: Vec<Forward>,
    divisor: Divisor,
}

/// What the losses of a window are divided by.
struct Divisor {
    /// The normalisers of all batches of all ranks; empty if the model has none.
    normalisers: Vec<f64>,
    /// The number of batches of all ranks, over which the loss is averaged without normalisers.
    batches: f64,
}

impl Divisor {
    /// Sums over the window and over all ranks.
    fn of(network: &Network, batches: &[Batch], strategy: &impl Strategy) -> Result<Self> {
        let mut sums: Vec<f64> = Vec::new();
        for batch in batches {
            let values = network.normalisers(batch)?;
            sums.resize(sums.len().max(values.len()), 0.0);
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        }
        sums.push(batches.len() as f64);
        strategy.sum(&mut sums)?;
        let batches = sums.pop().unwrap_or(1.0);
        Ok(Divisor {
            normalisers: sums,
            batches,
        })
    }

    /// The number of batches that the loss is averaged over; `None` if the model normalises it.
    fn averaged_over(&self) -> Option<f64> {
        self.normalisers.is_empty().then_some(self.batches)
    }
}

/// Forward and backward over the window's batches.
fn accumulate(
    network: &mut Network,
    window: &mut [HostBatch],
    scale: Option<f64>,
    settings: StepSettings<'_>,
    strategy: &impl Strategy,
) -> Result<Accumulated> {
    let (device, profile) = (network.device(), settings.profile);
    let span = profile.span("to device");
    let batches = window
        .iter_mut()
        .map(|b| to_batch(b, device))
        .collect::<Result<Vec<Batch>>>()?;
    drop(span);
    let span = profile.span("forward");
    let divisor = Divisor::of(network, &batches, strategy)?;
    let context = context::training(settings.moment, divisor.normalisers.clone());
    drop(span);
    let mut forwards = Vec::with_capacity(batches.len());
    for batch in &batches {
        let span = profile.span("forward");
        let mut forward = network.forward(batch, &context)?;
        drop(span);
        let _span = profile.span("backward");
        if let Some(loss) = forward.loss.take() {
            backward(&loss, divisor.averaged_over(), scale)
                .map_err(|e| torch_error("run the backward pass", &e))?;
            forward.loss = Some(loss.detach());
        }
        // The graph's memory is freed before the next batch.
        forward.outputs.clear();
        forwards.push(forward);
    }
    Ok(Accumulated { forwards, divisor })
}

/// Exchanges and clips the gradients, and steps the optimizer if the values allow it.
fn update(
    optimizer: &mut Optimizer,
    scaler: Option<&mut Scaler>,
    accumulated: Accumulated,
    settings: StepSettings<'_>,
    strategy: &impl Strategy,
) -> Result<StepOutcome> {
    let _span = settings.profile.span("optimizer");
    if strategy.world().size > 1 {
        strategy.exchange_gradients(&mut optimizer.gradients())?;
    }
    let overflow = match &scaler {
        Some(scaler) => optimizer.unscale(scaler.scale())?,
        None => None,
    };
    let norm = optimizer.clip(settings.clip)?;
    let divisor = accumulated.divisor.averaged_over().unwrap_or(1.0);
    let values = DeviceValues::new(&accumulated.forwards, divisor, norm.as_ref(), overflow.as_ref())?;
    let (values, changed) = if settings.read_first {
        let values = values.read_one(strategy)?;
        let (finite, overflow) = (values.is_finite(), values.overflow);
        scaler.into_iter().for_each(|scaler| scaler.update(!overflow));
        (Values::Read(values), finite)
    } else {
        (Values::OnDevice(values), true)
    };
    if changed {
        optimizer.step(settings.rate)?;
    }
    optimizer.clear_gradients()?;
    Ok(StepOutcome { values, changed })
}

/// Computes the gradients of the loss, divided by the number of batches that it is averaged over
/// and multiplied by the loss scale.
fn backward(loss: &Tensor, averaged_over: Option<f64>, scale: Option<f64>) -> Result<(), TchError> {
    let mut loss = loss.shallow_clone();
    if let Some(count) = averaged_over {
        loss = loss.f_div_scalar(count)?;
    }
    if let Some(scale) = scale {
        loss = loss.f_mul_scalar(scale)?;
    }
    loss.f_backward()
}

/// Running out of memory is no fault of a plugin: the error says what was tried, and what to lower.
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
            "GPU memory of this process: {allocated} in tensors, at most {peak} so far, {reserved} \
             held by libtorch"
        ));
    }
    Error::failed(format!(
        "out of memory in a step with {images} images of up to {width}x{height}"
    ))
    .with_details(details)
    .with_help(
        "lower data.batch_size (auto finds what fits, training.accumulate makes up for it) or \
         data.image_size, or set training.precision to auto; the last checkpoint is kept, and --resume \
         continues from it",
    )
}

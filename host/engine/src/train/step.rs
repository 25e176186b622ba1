//! One optimizer step over an accumulation window of batches.

use crate::batch::to_batch;
use crate::evaluate::Means;
use crate::network::{Forward, Network};
use crate::train::optimizer::{Clip, Optimizer};
use crate::train::precision::Scaler;
use cvhost::error::{Error, Result};
use cvhost_data::HostBatch;
use cvhost_plugin_api::data::{Batch, Mode, StepContext};
use tch::Tensor;

/// The circumstances of a step.
#[derive(Debug, Clone, Copy)]
pub struct StepSettings {
    pub step: u64,
    pub epoch: u64,
    pub rate: f64,
    pub clip: Clip,
    /// Leave the weights as they are where the gradients' norm is no finite number; this waits for the device.
    pub skip_non_finite: bool,
}

/// What a step gave; its values are still on the device.
pub struct StepResult {
    /// One a batch of the window, with its number of pictures.
    forwards: Vec<(Forward, usize)>,
    /// The window's loss was averaged over its batches, not normalised over them.
    averaged: bool,
    norm: Option<Tensor>,
    /// The weights were left as they are.
    skipped: bool,
}

/// A step's values on the CPU.
pub struct StepValues {
    pub loss: f64,
    pub parts: Vec<(String, f64)>,
    /// Of all gradients before clipping; NaN without gradients.
    pub norm: f64,
    /// The weights were left as they are, since the gradients are not finite.
    pub skipped: bool,
}

impl StepResult {
    /// The window's mean loss, its parts, and the gradients' norm before clipping. This waits for the device.
    pub fn read(&self) -> StepValues {
        let mut means = Means::default();
        // A normalised window's loss is the sum of its batches' losses; the mean is taken over equal weights and scaled back.
        let scale = if self.averaged {
            1.0
        } else {
            self.forwards.len() as f64
        };
        for (forward, _) in &self.forwards {
            means.add(forward, 1);
        }
        let norm = self.norm.as_ref().map_or(f64::NAN, |n| n.double_value(&[]));
        let parts = means
            .parts()
            .into_iter()
            .map(|(name, value)| (name, value * scale))
            .collect();
        StepValues {
            loss: means.loss() * scale,
            parts,
            norm,
            skipped: self.skipped,
        }
    }
}

/// Forward and backward over the window's batches, then clipping and the optimizer's step.
pub fn step(
    network: &mut Network,
    optimizer: &mut Optimizer,
    scaler: Option<&mut Scaler>,
    window: &mut [HostBatch],
    settings: StepSettings,
) -> Result<StepResult> {
    steps_of(network, optimizer, scaler, window, settings).map_err(|error| explain_memory(error, window))
}

fn steps_of(
    network: &mut Network,
    optimizer: &mut Optimizer,
    scaler: Option<&mut Scaler>,
    window: &mut [HostBatch],
    settings: StepSettings,
) -> Result<StepResult> {
    let device = network.device();
    let batches = window
        .iter_mut()
        .map(|b| to_batch(b, device))
        .collect::<Result<Vec<Batch>>>()?;
    let normalisers = window_normalisers(network, &batches)?;
    let averaged = normalisers.is_empty();
    let context = StepContext {
        mode: Mode::TRAIN,
        step: settings.step,
        epoch: settings.epoch,
        normalisers,
    };
    let scale = scaler.as_ref().map(|scaler| scaler.scale());
    let mut forwards = Vec::with_capacity(batches.len());
    for (batch, host_batch) in batches.iter().zip(window.iter()) {
        let mut forward = network.forward(batch, &context)?;
        if let Some(loss) = forward.loss.take() {
            let share = if averaged {
                &loss / batches.len() as f64
            } else {
                loss.shallow_clone()
            };
            let share = scale.map_or(share.shallow_clone(), |scale| share * scale);
            share.f_backward().map_err(|e| torch_error("backward", &e))?;
            forward.loss = Some(loss.detach());
        }
        forward.outputs.clear(); // so that the graph's memory goes before the next batch
        forwards.push((forward, host_batch.metas.len()));
    }
    if let Some(scale) = scale {
        optimizer.scale_gradients(1.0 / scale)?;
    }
    let norm = optimizer.clip(settings.clip)?;
    let skipped = (settings.skip_non_finite || scale.is_some())
        && norm
            .as_ref()
            .is_some_and(|norm| !norm.double_value(&[]).is_finite());
    if !skipped {
        optimizer.step(settings.rate)?;
    }
    optimizer.clear_gradients()?;
    if let Some(scaler) = scaler {
        scaler.update(!skipped);
    }
    Ok(StepResult {
        forwards,
        averaged,
        norm,
        skipped,
    })
}

/// Memory that ran out is no fault of a plugin: what was tried, and what to lower.
fn explain_memory(error: Error, window: &[HostBatch]) -> Error {
    let text = error.to_string();
    let ran_out = ["out of memory", "can't allocate memory", "not enough memory"];
    if !ran_out.iter().any(|words| text.contains(words)) {
        return error;
    }
    let pictures = window.iter().map(|b| b.metas.len()).max().unwrap_or(0);
    let metas = || window.iter().flat_map(|b| b.metas.iter());
    let width = metas().map(|m| m.input_width).max().unwrap_or(0);
    let height = metas().map(|m| m.input_height).max().unwrap_or(0);
    Error::failed(format!(
        "the memory doesn't suffice for a step with {pictures} pictures of up to {width}x{height}"
    ))
    .with_details(vec![text.lines().next().unwrap_or_default().to_owned()])
    .with_help(
        "lower data.batch_size (training.accumulate makes up for it), data.image_size, or set training.precision to auto; the last \
         checkpoint is kept, and --resume goes on from it",
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

fn torch_error(doing: &str, error: &tch::TchError) -> Error {
    let text = error.to_string();
    Error::failed(format!(
        "libtorch failed in the {doing} pass: {}",
        text.lines().next().unwrap_or_default()
    ))
}

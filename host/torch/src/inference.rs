//! The inference loop: batches → tensors → forward → `finish`. `eval`, validation and `predict` all
//! use it and differ only in what they do with the predictions.

use crate::batch::to_batch;
use crate::context::{self, Moment};
use crate::network::{Forward, Network};
use cvhost::error::Result;
use cvhost::interrupt;
use cvhost_data::HostBatch;
use cvhost_plugin_api::data::{Batch, Fields, StepContext};
use serde_json::Value;
use tch::no_grad;

/// What the forward passes compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Only predictions. The batches need no targets.
    Predict,
    /// Predictions and the loss.
    Evaluate(Moment),
}

/// A batch after its forward pass.
pub struct Inferred<'a> {
    /// Metas, targets and names. Its items have been consumed.
    pub batch: &'a HostBatch,
    /// The loss, its parts and the raw outputs. There is no loss in [`Purpose::Predict`].
    pub forward: &'a Forward,
    /// One per sample, in pixels of the original image.
    pub predictions: Vec<Fields>,
}

/// Runs the network without gradients on each batch and passes the predictions to `each`. `finish`
/// holds the options of the model's `finish`.
///
/// # Errors
/// A batch, the model or `each` fails; the first error ends the loop.
pub fn infer(
    network: &mut Network,
    batches: impl IntoIterator<Item = Result<HostBatch>>,
    purpose: Purpose,
    finish: &Value,
    mut each: impl FnMut(Inferred<'_>) -> Result<()>,
) -> Result<()> {
    for batch in batches {
        let mut host_batch = batch?;
        let batch = to_batch(&mut host_batch, network.device())?;
        let forward = no_grad(|| {
            let context = context_of(network, &batch, purpose)?;
            network.forward(&batch, &context)
        })?;
        let predictions = no_grad(|| network.finish(&forward.outputs, &host_batch.metas, finish))?;
        each(Inferred {
            batch: &host_batch,
            forward: &forward,
            predictions,
        })?;
    }
    Ok(())
}

fn context_of(network: &Network, batch: &Batch, purpose: Purpose) -> Result<StepContext<'static>> {
    match purpose {
        Purpose::Predict => Ok(context::prediction()),
        Purpose::Evaluate(moment) => Ok(context::evaluation(moment, network.normalisers(batch)?)),
    }
}

/// Passes the batches through. After Ctrl-C or SIGTERM, the next batch is replaced with the error
/// of an interruption.
pub fn interruptible(
    batches: impl IntoIterator<Item = Result<HostBatch>>,
) -> impl Iterator<Item = Result<HostBatch>> {
    batches.into_iter().map(|batch| {
        if interrupt::requested() {
            Err(interrupt::error())
        } else {
            batch
        }
    })
}

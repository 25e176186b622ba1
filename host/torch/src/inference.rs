//! The inference loop: batches → tensors → forward → `finish`. `eval`, validation and `predict` all
//! run it; they differ in what they do with the predictions.

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
    /// Predictions alone. The batches need no targets.
    Predict,
    /// Predictions and the loss.
    Evaluate(Moment),
}

/// A batch after its forward pass.
pub struct Inferred<'a> {
    /// Metas, targets and names; the items have become tensors.
    pub batch: &'a HostBatch,
    /// The loss, its parts and the raw outputs. There is no loss in [`Purpose::Predict`].
    pub forward: &'a Forward,
    /// One per sample, in original pixels.
    pub predictions: Vec<Fields>,
}

/// Runs the network on each batch and passes the predictions to `each`, without gradients.
/// `finish` are the options of the model's `finish`.
///
/// # Errors
/// Those of the batches, of the model and of `each`; the first one ends the loop.
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

fn context_of(network: &Network, batch: &Batch, purpose: Purpose) -> Result<StepContext> {
    match purpose {
        Purpose::Predict => Ok(context::prediction()),
        Purpose::Evaluate(moment) => Ok(context::evaluation(moment, network.normalisers(batch)?)),
    }
}

/// The same batches; after Ctrl-C or SIGTERM the error of an interruption in place of the next one.
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

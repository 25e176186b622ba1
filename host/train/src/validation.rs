//! The validation after each epoch.

use crate::strategy::Strategy;
use cvhost::error::{Kind, Result};
use cvhost_data::Loader;
use cvhost_plugin_api::abi::EvaluatorBox;
use cvhost_torch::context::Moment;
use cvhost_torch::evaluate::{EvaluateOptions, Measured, evaluate, measure};
use cvhost_torch::network::Network;
use serde_json::{Map, Value};

/// How the validation data is evaluated.
pub struct Validation<'a> {
    pub loader: Loader,
    /// Creates an evaluator; each validation has its own.
    pub evaluator: Box<dyn Fn() -> Result<EvaluatorBox> + 'a>,
    /// Options for the model's `finish`.
    pub finish: Value,
    /// The maximum number of batches; `None` evaluates all.
    pub max_batches: Option<usize>,
}

impl Validation<'_> {
    /// Evaluates a few batches before the first step, so that a fault of evaluator, metric or data
    /// is found at once.
    pub fn check(&self, network: &mut Network, batches: usize) -> Result<()> {
        let options = self.options("check", Moment::default(), Some(batches));
        evaluate(network, &self.loader, (self.evaluator)()?, options)
            .map(|_| ())
            .map_err(|e| e.within("the check of the validation before training"))
    }

    /// The metrics of all ranks' data, with the prefix `val_`. `None` if a rank was interrupted.
    pub fn run(
        &self,
        network: &mut Network,
        moment: Moment,
        strategy: &impl Strategy,
    ) -> Result<Option<Map<String, Value>>> {
        let options = self.options("validate", moment, self.max_batches);
        let measured = match measure(network, &self.loader, (self.evaluator)()?, options) {
            Err(error) if error.kind == Kind::Interrupted => None,
            measured => Some(measured?),
        };
        merged_metrics(measured, strategy)
    }

    fn options(
        &self,
        label: &'static str,
        moment: Moment,
        max_batches: Option<usize>,
    ) -> EvaluateOptions<'_> {
        EvaluateOptions {
            label,
            moment,
            finish: &self.finish,
            max_batches,
            each: None,
        }
    }
}

/// The metrics of what all ranks have measured; `None` for one that was interrupted, and then for
/// all.
pub fn merged_metrics(
    measured: Option<Measured>,
    strategy: &impl Strategy,
) -> Result<Option<Map<String, Value>>> {
    let [interrupted] = strategy.any([measured.is_none()])?;
    let Some(measured) = measured.filter(|_| !interrupted) else {
        return Ok(None);
    };
    let merged = strategy.merge(measured)?;
    strategy.on_leader(|| match merged.complete() {
        // An evaluator that computes for long may have asked the host whether to stop.
        Err(error) if error.kind == Kind::Interrupted => Ok(None),
        evaluation => Ok(Some(evaluation?.named("val"))),
    })
}

//! The loss of classifiers.

use crate::labels::Labels;
use cvhost_layers::ClassWeights;
use cvhost_plugin_api::error::{PluginError, Result};
use serde_json::Value;
use tch::{Kind, Reduction, Tensor};

/// Cross-entropy, or binary cross-entropy if labels are not exclusive, with class weights and label
/// smoothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Criterion {
    pub multi_label: bool,
    /// The fraction of each target spread over all classes, 0..1 (Szegedy et al. 2016).
    pub label_smoothing: f64,
    pub weights: ClassWeights,
}

impl Criterion {
    /// Reads `model.label_smoothing` and `model.class_weights` of the whole resolved configuration.
    /// Fails if a value is invalid.
    pub fn from_config(config: &Value, labels: &Labels) -> Result<Self> {
        let label_smoothing = match config.pointer("/model/label_smoothing").filter(|v| !v.is_null()) {
            None => 0.0,
            Some(value) => value
                .as_f64()
                .filter(|e| (0.0..=1.0).contains(e))
                .ok_or_else(|| {
                    PluginError::config(
                        "model.label_smoothing",
                        format!("`model.label_smoothing`: expected a number from 0 to 1, got {value}"),
                    )
                })?,
        };
        Ok(Criterion {
            multi_label: labels.multi_label,
            label_smoothing,
            weights: ClassWeights::from_config(config, &labels.names, labels.counts.as_deref())?,
        })
    }

    /// The divisor of [`Criterion::loss`], for `Model::normalisers`. With exclusive labels it is
    /// the weight of the targets, `Σₙ Σ_c w_c · y_nc`, i.e. the number of images if all classes
    /// have the same weight; otherwise the number of labels, N · C. `targets` is `[N, C]`.
    pub fn normaliser(&self, targets: &Tensor) -> Result<f64> {
        let (images, classes) = targets.size2()?;
        match self.weights.get() {
            _ if self.multi_label => Ok((images * classes) as f64),
            // Targets sum to 1, even mixed ones, so there is no need to synchronise with the
            // device.
            None => Ok(images as f64),
            Some(weights) => {
                let weights = row(weights, targets);
                let sum = (targets.to_kind(Kind::Float) * weights).sum(Kind::Double);
                Ok(sum.double_value(&[]))
            }
        }
    }

    /// The loss, a scalar, computed in float32. `logits` and `targets` are `[N, C]` with the same
    /// class order, targets in 0..1; `normaliser` is that of [`Criterion::normaliser`], summed by
    /// the host.
    ///
    /// With exclusive labels: `Σₙ Σ_c -w_c · y'_nc · log softmax(x)_nc` with `y' = (1 - ε) · y + ε
    /// / C`, like torch's `cross_entropy` with class indices. Otherwise binary cross-entropy of
    /// each label, multiplied by `w_c`, with `y' = (1 - ε) · y + ε / 2`.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn loss(&self, logits: &Tensor, targets: &Tensor, normaliser: f64) -> Result<Tensor> {
        if logits.size() != targets.size() {
            return Err(PluginError::failed(format!(
                "logits {:?} for targets {:?}; expected the same shape, [images, classes]",
                logits.size(),
                targets.size()
            )));
        }
        let (_, classes) = logits.size2()?;
        let (logits, targets) = (logits.to_kind(Kind::Float), targets.to_kind(Kind::Float));
        let choices = if self.multi_label { 2 } else { classes };
        let smoothed = match self.label_smoothing {
            0.0 => targets,
            e => targets * (1.0 - e) + e / choices as f64,
        };
        let weights = self.weights.get().map(|w| row(w, &logits));
        let sum = if self.multi_label {
            logits.f_binary_cross_entropy_with_logits::<Tensor>(&smoothed, weights, None, Reduction::Sum)?
        } else {
            let likelihood = logits.f_log_softmax(-1, Kind::Float)? * smoothed;
            let weighed = match weights {
                Some(weights) => likelihood * weights,
                None => likelihood,
            };
            -weighed.sum(Kind::Float)
        };
        // All weights of a batch are 0 only if it has only classes with weight 0; the sum is then
        // 0, too.
        Ok(sum / if normaliser > 0.0 { normaliser } else { 1.0 })
    }
}

/// `[C]` float32 on the device of `like`.
fn row(weights: &[f64], like: &Tensor) -> Tensor {
    Tensor::from_slice(weights)
        .to_kind(Kind::Float)
        .to_device(like.device())
}

//! The loss over matched pairs.

use crate::matcher::MatchCosts;
use crate::on_host::OnHost;
use crate::targets::{Predictions, Targets};
use crate::terms::{Terms, Weights};
use cvhost_layers::ClassWeights;
use cvhost_plugin_api::data::{LabelSpec, NamedTensor};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::torch::named;
use serde_json::Value;
use tch::{Device, Kind, Reduction, Tensor};

/// torch's default `ignore_index` of `nll_loss`; no label is negative.
const IGNORE_NOTHING: i64 = -100;

/// Whether the losses of the decoder layers before the last one count, and their weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AuxiliaryLoss {
    Off,
    Weighted(f64),
}

/// Coefficients of matching and loss, as in `config.json`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossSettings {
    /// `class_cost`, `bbox_cost` and `giou_cost`.
    pub costs: MatchCosts,
    /// The weight of the "no object" class in the cross entropy.
    pub eos_coefficient: f64,
    pub bbox_loss_coefficient: f64,
    pub giou_loss_coefficient: f64,
}

impl LossSettings {
    /// The defaults of transformers' `DetrConfig`.
    pub const DETR: LossSettings = LossSettings {
        costs: MatchCosts {
            class: 1.0,
            bbox: 5.0,
            giou: 2.0,
        },
        eos_coefficient: 0.1,
        bbox_loss_coefficient: 5.0,
        giou_loss_coefficient: 2.0,
    };

    /// From a checkpoint's `config.json`; `defaults` applies where a key is missing.
    ///
    /// # Errors
    /// A value that isn't a number ≥ 0; matching costs that are all 0.
    pub fn from_checkpoint(json: &Value, defaults: &LossSettings) -> Result<Self> {
        let costs = MatchCosts {
            class: weight(json, "class_cost", defaults.costs.class)?,
            bbox: weight(json, "bbox_cost", defaults.costs.bbox)?,
            giou: weight(json, "giou_cost", defaults.costs.giou)?,
        };
        if costs.class == 0.0 && costs.bbox == 0.0 && costs.giou == 0.0 {
            return Err(PluginError::checkpoint(
                "config.json: class_cost, bbox_cost and giou_cost are all 0; \
                 matching needs at least one of them",
            ));
        }
        let coefficient = |key, missing| weight(json, key, missing);
        Ok(LossSettings {
            costs,
            eos_coefficient: coefficient("eos_coefficient", defaults.eos_coefficient)?,
            bbox_loss_coefficient: coefficient("bbox_loss_coefficient", defaults.bbox_loss_coefficient)?,
            giou_loss_coefficient: coefficient("giou_loss_coefficient", defaults.giou_loss_coefficient)?,
        })
    }
}

/// The loss of DETR: `CE + bbox · L1 + giou · (1 − GIoU)` per layer; total = last layer + weight ·
/// Σ others.
#[derive(Debug, Clone, PartialEq)]
pub struct SetCriterion {
    pub settings: LossSettings,
    /// The weight of each class except "no object" in the cross entropy; `None` if all are 1.
    pub class_weights: Option<Vec<f64>>,
    pub auxiliary: AuxiliaryLoss,
}

/// A scalar loss with its graph, and its detached parts: `loss_ce`, `loss_bbox`, `loss_giou` (all
/// unweighted) and `cardinality_error`; those of earlier layers have the suffixes `_0`, `_1`, …
pub struct SetLoss {
    pub loss: Tensor,
    pub parts: Vec<NamedTensor>,
}

impl SetCriterion {
    /// From a checkpoint's `config.json` and the whole resolved configuration.
    ///
    /// `config.json` gives the [`LossSettings`], with `defaults` for missing keys, and
    /// `auxiliary_loss`. The configuration's `model.aux_loss_weight` enables auxiliary losses (> 0,
    /// the weight) or disables them (0); its `model.class_weights` is a list, or a map from the
    /// class names in `spec`.
    ///
    /// # Errors
    /// A value that isn't a number ≥ 0; matching costs that are all 0; class weights that don't
    /// match the classes.
    pub fn from_config(
        checkpoint: &Value,
        config: &Value,
        spec: &LabelSpec,
        defaults: &LossSettings,
    ) -> Result<Self> {
        let settings = LossSettings::from_checkpoint(checkpoint, defaults)?;
        let auxiliary = match config.pointer("/model/aux_loss_weight").filter(|v| !v.is_null()) {
            Some(value) => match value.as_f64().filter(|w| w.is_finite() && *w >= 0.0) {
                Some(0.0) => AuxiliaryLoss::Off,
                Some(factor) => AuxiliaryLoss::Weighted(factor),
                None => {
                    let message = format!("expected a number of at least 0, got {value}");
                    return Err(PluginError::config("model.aux_loss_weight", message));
                }
            },
            None if checkpoint.get("auxiliary_loss").and_then(Value::as_bool) == Some(true) => {
                AuxiliaryLoss::Weighted(1.0)
            }
            None => AuxiliaryLoss::Off,
        };
        let names: Vec<String> = spec.names.iter().map(ToString::to_string).collect();
        let class_weights = ClassWeights::from_config(config, &names, None)?;
        class_weights.allow_training()?;
        Ok(SetCriterion {
            settings,
            class_weights: class_weights.get().map(<[f64]>::to_vec),
            auxiliary,
        })
    }

    /// The loss's normalisers, for `Model::normalisers`: the number of boxes, the sum of the cross
    /// entropy's class weights, and the number of images. They depend on the targets alone, so the
    /// host can sum them over micro-batches before the first forward pass; losses and parts of the
    /// micro-batches then add up to those of one large batch.
    ///
    /// With class weights, the labels are copied from their device. An image with more targets than
    /// queries contributes the mean weight of its targets, since it isn't known yet which ones will
    /// be matched.
    ///
    /// # Errors
    /// Labels that can't be read.
    pub fn normalisers(&self, targets: &Targets, queries: i64) -> Result<Vec<f64>> {
        let matched: i64 = targets.counts.iter().map(|&n| n.min(queries)).sum();
        let unmatched = queries * targets.images() as i64 - matched;
        let matched_weight = match &self.class_weights {
            Some(weights) => weight_of_matched(targets, queries, weights)?,
            None => matched as f64,
        };
        Ok(vec![
            targets.total() as f64,
            matched_weight + self.settings.eos_coefficient * unmatched as f64,
            targets.images() as f64,
        ])
    }

    /// The loss of `layers`, in the decoder's order; the last one is the model's output, and those
    /// before it count only if auxiliary losses are enabled. `normalisers` are the sums of
    /// [`SetCriterion::normalisers`] over the accumulation window; if empty, this batch's own are
    /// used. Computed in f32. Non-finite predictions give a non-finite loss.
    ///
    /// # Errors
    /// Inconsistent shapes; labels that aren't classes; non-finite target boxes.
    pub fn loss(&self, layers: &[Predictions], targets: &Targets, normalisers: &[f64]) -> Result<SetLoss> {
        let layers = match self.auxiliary {
            AuxiliaryLoss::Weighted(_) => layers,
            AuxiliaryLoss::Off => layers.get(layers.len().saturating_sub(1)..).unwrap_or(layers),
        };
        let log_probabilities = stack(layers, |l| &l.logits)?.f_log_softmax(-1, Kind::Float)?;
        let boxes = stack(layers, |l| &l.pred_boxes)?;
        let step = OnHost::copy(&log_probabilities, &boxes, targets)?;
        let matching = self.settings.costs.assign(&step)?;

        let normalisers = match normalisers {
            [] => self.normalisers(targets, step.queries as i64)?,
            given => given.to_vec(),
        };
        let &[num_boxes, class_weights, images] = normalisers.as_slice() else {
            return Err(PluginError::failed(format!(
                "expected 3 normalisers (boxes, class weights, images), got {}",
                normalisers.len()
            )));
        };
        let weights = Weights {
            classes: &self.class_weights(step.classes),
            bbox: self.settings.bbox_loss_coefficient,
            giou: self.settings.giou_loss_coefficient,
            layers: &self.layer_weights(step.layers),
            num_boxes: num_boxes.max(1.0),
            // The sum is 0 only if eos_coefficient is 0 and there are no boxes; then the loss is 0
            // too.
            class_weights: if class_weights > 0.0 { class_weights } else { 1.0 },
            images: images.max(1.0),
        };
        let terms = Terms::new(&step, &matching, &weights);
        joined(&log_probabilities, &boxes, &terms)
    }

    /// `[C + 1]`: the cross entropy's class weights.
    fn class_weights(&self, classes: usize) -> Vec<f32> {
        let mut weights = match &self.class_weights {
            Some(own) => own.iter().map(|&weight| weight as f32).collect(),
            None => Vec::new(),
        };
        weights.resize(classes, 1.0);
        if let Some(no_object) = weights.last_mut() {
            *no_object = self.settings.eos_coefficient as f32;
        }
        weights
    }

    /// `[L]`: the weight of each layer in the total.
    fn layer_weights(&self, layers: usize) -> Vec<f64> {
        let mut weights = match self.auxiliary {
            AuxiliaryLoss::Off => vec![0.0; layers],
            AuxiliaryLoss::Weighted(factor) => vec![factor; layers],
        };
        if let Some(last) = weights.last_mut() {
            *last = 1.0;
        }
        weights
    }
}

/// The loss as a tensor with a graph to `log_probabilities` `[L, N, Q, C + 1]` and `boxes`
/// `[L, N, Q, 4]`. First derivatives are exact. The box losses have no second derivatives, because
/// their gradient g is a constant here:
///
/// ```text
/// Σ w · (−log p) + (Σ b · g − value of Σ b · g) + box losses
/// ```
fn joined(log_probabilities: &Tensor, boxes: &Tensor, terms: &Terms) -> Result<SetLoss> {
    let device = log_probabilities.device();
    let parts = terms
        .layers
        .iter()
        .flat_map(|p| [p.cross_entropy, p.l1, p.giou, p.cardinality].map(|v| v as f32));
    // One transfer to the device.
    let numbers: Vec<f32> = terms
        .label_weights
        .iter()
        .chain(&terms.box_gradient)
        .copied()
        .chain(parts)
        .collect();
    let numbers = Tensor::f_from_slice(&numbers)?.f_to_device(device)?;
    let labels = Tensor::f_from_slice(&terms.labels)?.f_to_device(device)?;
    let (rows, sides) = (terms.label_weights.len() as i64, terms.box_gradient.len() as i64);
    let label_weights = numbers.f_narrow(0, 0, rows)?;
    let box_gradient = numbers.f_narrow(0, rows, sides)?;
    let parts = numbers.f_narrow(0, rows + sides, 4 * terms.layers.len() as i64)?;

    let unlikelihood = log_probabilities.f_flatten(0, 2)?.f_nll_loss::<Tensor>(
        &labels,
        None,
        Reduction::None,
        IGNORE_NOTHING,
    )?;
    let cross_entropy = unlikelihood.f_mul(&label_weights)?.f_sum(Kind::Float)?;
    let guide = boxes.f_reshape([-1])?.f_mul(&box_gradient)?.f_sum(Kind::Float)?;
    let zero = guide.f_sub(&guide.detach())?;
    Ok(SetLoss {
        loss: cross_entropy.f_add(&zero)?.f_add_scalar(terms.box_loss)?,
        parts: named_parts(&parts, terms.layers.len())?,
    })
}

/// Names `values` `[4 · L]`; the last layer's parts come first.
fn named_parts(values: &Tensor, layers: usize) -> Result<Vec<NamedTensor>> {
    const NAMES: [&str; 4] = ["loss_ce", "loss_bbox", "loss_giou", "cardinality_error"];
    let values = values.f_unbind(0)?;
    Ok(values
        .chunks_exact(NAMES.len())
        .enumerate()
        .rev()
        .flat_map(|(layer, values)| {
            let suffix = match layer + 1 == layers {
                true => String::new(),
                false => format!("_{layer}"),
            };
            let parts = NAMES.iter().zip(values);
            parts.map(move |(name, value)| named(&format!("{name}{suffix}"), value.shallow_clone()))
        })
        .collect())
}

/// The layers' tensors stacked along a new dimension 0, in f32.
fn stack(layers: &[Predictions], of: impl Fn(&Predictions) -> &Tensor) -> Result<Tensor> {
    if layers.is_empty() {
        return Err(PluginError::failed(
            "the loss needs the predictions of at least one layer",
        ));
    }
    let all: Vec<Tensor> = layers.iter().map(|l| of(l).to_kind(Kind::Float)).collect();
    Ok(Tensor::f_stack(&all, 0)?)
}

/// The sum of the class weights of the targets that will be matched.
fn weight_of_matched(targets: &Targets, queries: i64, weights: &[f64]) -> Result<f64> {
    let labels = Vec::<i64>::try_from(targets.class_labels.f_to_device(Device::Cpu)?)?;
    let mut rest = labels.as_slice();
    let sums = targets.counts.iter().map(|&count| {
        let (own, others) = rest.split_at((count.max(0) as usize).min(rest.len()));
        rest = others;
        // `loss` rejects labels that aren't classes.
        let weight = |&label: &i64| {
            usize::try_from(label)
                .ok()
                .and_then(|l| weights.get(l))
                .unwrap_or(&1.0)
        };
        let sum: f64 = own.iter().map(weight).sum();
        sum * count.min(queries) as f64 / count.max(1) as f64
    });
    Ok(sums.sum())
}

fn weight(config: &Value, key: &str, default: f64) -> Result<f64> {
    match config.get(key).filter(|v| !v.is_null()) {
        None => Ok(default),
        Some(value) => value
            .as_f64()
            .filter(|w| w.is_finite() && *w >= 0.0)
            .ok_or_else(|| {
                PluginError::checkpoint(format!(
                    "config.json: `{key}`: expected a number of at least 0, got {value}"
                ))
            }),
    }
}

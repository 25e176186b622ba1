//! The loss over matched pairs.

use crate::boxes::{cxcywh_to_xyxy, generalized_iou};
use crate::matcher::{MatchCosts, Matching, stack};
use crate::targets::{Predictions, Targets};
use cvhost_plugin_api::data::NamedTensor;
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::torch::named;
use serde_json::Value;
use tch::{Kind, Tensor};

/// Whether the decoder layers before the last one are trained too, and the factor of their losses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AuxiliaryLoss {
    Off,
    Weighted(f64),
}

/// The loss of DETR: per layer, `CE + bbox · L1 + giou · (1 − GIoU)`; total = last layer + factor · Σ others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SetCriterion {
    pub costs: MatchCosts,
    /// The weight of the "no object" class in the cross entropy.
    pub eos_coefficient: f64,
    pub bbox_loss_coefficient: f64,
    pub giou_loss_coefficient: f64,
    pub auxiliary: AuxiliaryLoss,
}

/// A scalar loss with its graph, and its parts without: `loss_ce`, `loss_bbox`, `loss_giou` (unweighted),
/// `cardinality_error`; those of earlier layers end in `_0`, `_1`, …
pub struct SetLoss {
    pub loss: Tensor,
    pub parts: Vec<NamedTensor>,
}

impl SetCriterion {
    /// From a checkpoint's `config.json` (`class_cost`, `bbox_cost`, `giou_cost`, `eos_coefficient`, `bbox_loss_coefficient`,
    /// `giou_loss_coefficient`, `auxiliary_loss`; DETR's values where a key is missing) and the whole resolved
    /// configuration, whose `model.aux_loss_weight` switches auxiliary losses on (> 0, the factor) or off (0).
    /// Fails where a value isn't a number ≥ 0, or all matching costs are 0.
    pub fn from_config(checkpoint: &Value, config: &Value) -> Result<Self> {
        let costs = MatchCosts {
            class: weight(checkpoint, "class_cost", 1.0)?,
            bbox: weight(checkpoint, "bbox_cost", 5.0)?,
            giou: weight(checkpoint, "giou_cost", 2.0)?,
        };
        if costs.class == 0.0 && costs.bbox == 0.0 && costs.giou == 0.0 {
            return Err(PluginError::checkpoint(
                "config.json: class_cost, bbox_cost and giou_cost are all 0; matching needs at least one of them",
            ));
        }
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
        Ok(SetCriterion {
            costs,
            eos_coefficient: weight(checkpoint, "eos_coefficient", 0.1)?,
            bbox_loss_coefficient: weight(checkpoint, "bbox_loss_coefficient", 5.0)?,
            giou_loss_coefficient: weight(checkpoint, "giou_loss_coefficient", 2.0)?,
            auxiliary,
        })
    }

    /// What losses are divided by, for `Model::normalisers`: the number of boxes, the sum of the cross entropy's class
    /// weights, and the number of pictures. They depend on target counts alone, so the host can sum them over micro-batches
    /// before the first forward pass; losses and parts of the micro-batches then add up to those of one large batch.
    pub fn normalisers(&self, targets: &Targets, queries: i64) -> Vec<f64> {
        let matched: i64 = targets.counts.iter().map(|&n| n.min(queries)).sum();
        let unmatched = queries * targets.pictures() as i64 - matched;
        vec![
            targets.total() as f64,
            matched as f64 + self.eos_coefficient * unmatched as f64,
            targets.pictures() as f64,
        ]
    }

    /// The loss of `layers`, in the decoder's order; the last one is the model's output. Layers before it count only with
    /// auxiliary losses on. `normalisers` are those of [`SetCriterion::normalisers`], summed by the host; empty for this
    /// batch's own. Computed in f32. Fails where shapes disagree, or predictions or targets aren't finite numbers.
    pub fn loss(&self, layers: &[Predictions], targets: &Targets, normalisers: &[f64]) -> Result<SetLoss> {
        let layers = match self.auxiliary {
            AuxiliaryLoss::Weighted(_) => layers,
            AuxiliaryLoss::Off => layers.get(layers.len().saturating_sub(1)..).unwrap_or(layers),
        };
        let matching = self.costs.assign(layers, targets)?;
        let logits = stack(layers, |l| &l.logits);
        let boxes = stack(layers, |l| &l.pred_boxes);
        let queries = boxes.size().get(2).copied().unwrap_or(0);

        let own = self.normalisers(targets, queries);
        let [num_boxes, class_weights, pictures] =
            match if normalisers.is_empty() { &own } else { normalisers } {
                &[num_boxes, class_weights, pictures] => [num_boxes, class_weights, pictures],
                other => {
                    return Err(PluginError::failed(format!(
                        "expected 3 normalisers (boxes, class weights, pictures), got {}",
                        other.len()
                    )));
                }
            };
        // The weights sum to 0 only with eos_coefficient 0 and no boxes; the sum above is 0 then, too.
        let class_weights = if class_weights > 0.0 { class_weights } else { 1.0 };
        let ce = self.cross_entropy(&logits, targets, &matching) / class_weights;
        let (l1, giou) = box_losses(&boxes, targets, &matching);
        let (l1, giou) = (l1 / num_boxes.max(1.0), giou / num_boxes.max(1.0));
        let cardinality = cardinality_error(&logits, targets) / pictures.max(1.0);

        let total = &ce + &l1 * self.bbox_loss_coefficient + &giou * self.giou_loss_coefficient;
        let last = layers.len() as i64 - 1;
        let loss = match self.auxiliary {
            AuxiliaryLoss::Weighted(factor) if last > 0 => {
                total.get(last) + total.narrow(0, 0, last).sum(Kind::Float) * factor
            }
            _ => total.get(last),
        };
        let parts = (0..=last)
            .rev()
            .flat_map(|layer| {
                let suffix = if layer == last {
                    String::new()
                } else {
                    format!("_{layer}")
                };
                [
                    ("loss_ce", &ce),
                    ("loss_bbox", &l1),
                    ("loss_giou", &giou),
                    ("cardinality_error", &cardinality),
                ]
                .map(|(name, values)| named(&format!("{name}{suffix}"), values.get(layer).detach()))
            })
            .collect();
        Ok(SetLoss { loss, parts })
    }

    /// `[L]`: the weighted negative log likelihood, summed over pictures and queries. Unmatched queries shall say "no object".
    fn cross_entropy(&self, logits: &Tensor, targets: &Targets, matching: &Matching) -> Tensor {
        let size = logits.size();
        let no_object = size.last().copied().unwrap_or(1) - 1;
        let labels = Tensor::full(
            [size.iter().rev().skip(1).product()],
            no_object,
            (Kind::Int64, logits.device()),
        );
        let matched = targets
            .class_labels
            .index_select(0, &matching.targets.reshape([-1]));
        let labels = labels.index_copy(0, &matching.queries.reshape([-1]), &matched);
        let labels = labels.reshape(size.get(..3).unwrap_or_default());

        let likelihood = logits
            .log_softmax(-1, Kind::Float)
            .gather(-1, &labels.unsqueeze(-1), false)
            .squeeze_dim(-1);
        let unmatched = labels.eq(no_object).to_kind(Kind::Float);
        let weights = unmatched * (self.eos_coefficient - 1.0) + 1.0;
        -(likelihood * weights).sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Float)
    }
}

/// `[L]` each: L1 distance and 1 − GIoU, summed over the matched pairs.
fn box_losses(boxes: &Tensor, targets: &Targets, matching: &Matching) -> (Tensor, Tensor) {
    let layers = boxes.size().first().copied().unwrap_or(1);
    let shape = [layers, matching.pairs, 4];
    let predicted = boxes
        .reshape([-1, 4])
        .index_select(0, &matching.queries.reshape([-1]))
        .reshape(shape);
    let wanted = targets
        .boxes
        .index_select(0, &matching.targets.reshape([-1]))
        .reshape(shape);
    let l1 = (&predicted - &wanted)
        .abs()
        .sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Float);
    let giou = generalized_iou(&cxcywh_to_xyxy(&predicted), &cxcywh_to_xyxy(&wanted));
    (
        l1,
        (-giou + 1.0).sum_dim_intlist([1i64].as_slice(), false, Kind::Float),
    )
}

/// `[L]`: by how many objects the number of queries whose best class isn't "no object" is off, summed over pictures. Only
/// for the log.
fn cardinality_error(logits: &Tensor, targets: &Targets) -> Tensor {
    let no_object = logits.size().last().copied().unwrap_or(1) - 1;
    let found = logits.detach().argmax(-1, false).ne(no_object);
    let found = found.sum_dim_intlist([2i64].as_slice(), false, Kind::Float);
    let counts = Tensor::from_slice(&targets.counts).to_device(logits.device());
    (found - counts)
        .abs()
        .sum_dim_intlist([1i64].as_slice(), false, Kind::Float)
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

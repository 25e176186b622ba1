//! The loss's parts per layer, and its gradients with respect to boxes and log likelihoods.

use crate::boxes::generalized_iou_gradient;
use crate::matcher::Pairs;
use crate::on_host::{Block, OnHost};

/// Coefficients and normalisers of the loss's parts.
pub(crate) struct Weights<'a> {
    /// `[C + 1]`: class weights of the cross entropy.
    pub classes: &'a [f32],
    pub bbox: f64,
    pub giou: f64,
    /// `[L]`: weight of each layer in the total.
    pub layers: &'a [f64],
    pub num_boxes: f64,
    pub class_weights: f64,
    pub images: f64,
}

pub(crate) struct Terms {
    /// `[L · N · Q]`: the target class of each query.
    pub labels: Vec<i64>,
    /// `[L · N · Q]`: the weight of that class's negative log likelihood in the loss.
    pub label_weights: Vec<f32>,
    /// `[L · N · Q · 4]`: the loss's gradient with respect to the predicted boxes.
    pub box_gradient: Vec<f32>,
    /// The box losses, weighted and summed over all layers.
    pub box_loss: f64,
    pub layers: Vec<LayerParts>,
}

/// The unweighted parts of one layer's loss.
#[derive(Default, Clone)]
pub(crate) struct LayerParts {
    pub cross_entropy: f64,
    pub l1: f64,
    pub giou: f64,
    pub cardinality: f64,
}

impl Terms {
    /// `matching` holds the pairs of each block of `step`.
    pub fn new(step: &OnHost, matching: &[Pairs], weights: &Weights<'_>) -> Self {
        let rows = step.layers * step.images * step.queries;
        let mut terms = Terms {
            labels: vec![step.classes as i64 - 1; rows],
            label_weights: vec![0.0; rows],
            box_gradient: vec![0.0; rows * 4],
            box_loss: 0.0,
            layers: vec![LayerParts::default(); step.layers],
        };
        let queries = step.queries.max(1);
        let blocks = step
            .blocks()
            .zip(matching)
            .zip(terms.labels.chunks_exact_mut(queries))
            .zip(terms.label_weights.chunks_exact_mut(queries))
            .zip(terms.box_gradient.chunks_exact_mut(queries * 4))
            .enumerate();
        for (index, ((((block, pairs), labels), label_weights), gradient)) in blocks {
            let layer = index / step.images;
            let (Some(parts), Some(&factor)) = (terms.layers.get_mut(layer), weights.layers.get(layer))
            else {
                continue;
            };
            parts.cardinality += cardinality_error(block, step.classes) / weights.images;
            parts.cross_entropy += cross_entropy(block, pairs, weights, factor, labels, label_weights);
            let (l1, giou) = box_losses(block, pairs, weights, factor, gradient);
            parts.l1 += l1;
            parts.giou += giou;
        }
        let weighted = |(parts, factor): (&LayerParts, &f64)| {
            factor * (weights.bbox * parts.l1 + weights.giou * parts.giou)
        };
        terms.box_loss = terms.layers.iter().zip(weights.layers).map(weighted).sum();
        terms
    }
}

/// A block's weighted negative log likelihood. Writes matched targets' classes into `labels` `[Q]`,
/// which start as "no object".
fn cross_entropy(
    block: Block<'_>,
    pairs: &Pairs,
    weights: &Weights<'_>,
    factor: f64,
    labels: &mut [i64],
    label_weights: &mut [f32],
) -> f64 {
    for pair in &pairs.pairs {
        if let (Some(label), Some(target)) = (labels.get_mut(pair.query), block.targets.get(pair.target)) {
            *label = target.label as i64;
        }
    }
    let rows = block.log_probabilities.chunks_exact(weights.classes.len().max(1));
    let mut sum = 0.0;
    for ((row, label), label_weight) in rows.zip(labels).zip(label_weights) {
        let label = *label as usize;
        if let (Some(&log_probability), Some(&weight)) = (row.get(label), weights.classes.get(label)) {
            let weight = f64::from(weight) / weights.class_weights;
            sum -= weight * f64::from(log_probability);
            *label_weight = (factor * weight) as f32;
        }
    }
    sum
}

/// A block's sums of L1 distance and 1 − GIoU over its pairs, normalised. Writes the loss's
/// gradient into `gradient` `[Q, 4]`; NaN everywhere if the predictions are not finite.
fn box_losses(
    block: Block<'_>,
    pairs: &Pairs,
    weights: &Weights<'_>,
    factor: f64,
    gradient: &mut [f32],
) -> (f64, f64) {
    if pairs.unusable {
        gradient.fill(f32::NAN);
    }
    let (boxes, _) = block.boxes.as_chunks::<4>();
    let (gradients, _) = gradient.as_chunks_mut::<4>();
    let by_l1 = (factor * weights.bbox / weights.num_boxes) as f32;
    let by_giou = (factor * weights.giou / weights.num_boxes) as f32;
    let (mut l1, mut loss_giou) = (0.0, 0.0);
    for pair in &pairs.pairs {
        let (Some(predicted), Some(gradient), Some(target)) = (
            boxes.get(pair.query),
            gradients.get_mut(pair.query),
            block.targets.get(pair.target),
        ) else {
            continue;
        };
        let (giou, d_giou) = generalized_iou_gradient(*predicted, target.cxcywh);
        loss_giou += 1.0 - f64::from(giou);
        let sides = predicted.iter().zip(target.cxcywh).zip(d_giou).zip(gradient);
        for (((side, target), d_giou), gradient) in sides {
            let difference = side - target;
            l1 += f64::from(difference.abs());
            let sign = if difference == 0.0 {
                0.0
            } else {
                difference.signum()
            };
            *gradient = by_l1 * sign - by_giou * d_giou;
        }
    }
    (l1 / weights.num_boxes, loss_giou / weights.num_boxes)
}

/// The absolute difference between the number of queries whose best class isn't "no object" and the
/// number of targets. For logging only.
fn cardinality_error(block: Block<'_>, classes: usize) -> f64 {
    let objects = block
        .log_probabilities
        .chunks_exact(classes.max(1))
        .filter(|row| {
            row.split_last()
                .is_some_and(|(no_object, others)| others.iter().any(|class| class >= no_object))
        });
    (objects.count() as f64 - block.targets.len() as f64).abs()
}

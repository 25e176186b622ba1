//! The assignment of targets to queries.

use crate::boxes::{Corners, generalized_iou};
use crate::on_host::{Block, OnHost};
use cvhost_plugin_api::error::{PluginError, Result};

/// Coefficients of the matching cost
/// `class · (−p̂(label)) + bbox · ‖b̂ − b‖₁ + giou · (−GIoU(b̂, b))`, where p̂ is the softmax over all
/// classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatchCosts {
    pub class: f64,
    pub bbox: f64,
    pub giou: f64,
}

/// The matched pairs of one layer and image: min(queries, targets) of them.
pub(crate) struct Pairs {
    pub pairs: Vec<Pair>,
    /// The model's outputs are not finite, so the pairs are arbitrary.
    pub unusable: bool,
}

/// Indices into one image's queries and targets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pair {
    pub query: usize,
    pub target: usize,
}

impl MatchCosts {
    /// Matches each layer's predictions to the targets at minimum total cost, separately for each
    /// image, in the order of [`OnHost::blocks`].
    ///
    /// # Errors
    /// Non-finite costs of finite predictions and targets.
    pub(crate) fn assign(&self, step: &OnHost) -> Result<Vec<Pairs>> {
        let blocks = step.blocks().enumerate();
        blocks
            .map(|(index, block)| {
                self.pairs(step, block).ok_or_else(|| {
                    PluginError::failed(format!(
                        "matching costs of image {} of the batch are not finite",
                        index % step.images
                    ))
                })
            })
            .collect()
    }

    /// `None` if finite predictions have non-finite costs.
    fn pairs(&self, step: &OnHost, block: Block<'_>) -> Option<Pairs> {
        let (targets, queries) = (block.targets.len(), step.queries);
        let costs = self.costs(block, step.classes);
        if let Ok((targets, queries)) = lsap::solve(targets, queries, &costs, false) {
            let pairs = targets.into_iter().zip(queries);
            return Some(Pairs {
                pairs: pairs.map(|(target, query)| Pair { query, target }).collect(),
                unusable: false,
            });
        }
        let finite =
            block.boxes.iter().all(|b| b.is_finite()) && !block.log_probabilities.iter().any(|p| p.is_nan());
        // Any pairs lead to a non-finite loss; the host's policy then decides about the step.
        let any = (0..targets.min(queries)).map(|place| Pair {
            query: place,
            target: place,
        });
        (!finite).then(|| Pairs {
            pairs: any.collect(),
            unusable: true,
        })
    }

    /// `[targets, Q]`.
    fn costs(&self, block: Block<'_>, classes: usize) -> Vec<f64> {
        let [class, bbox, giou] = [self.class, self.bbox, self.giou].map(|weight| weight as f32);
        let (boxes, _) = block.boxes.as_chunks::<4>();
        let corners: Vec<Corners> = boxes.iter().map(|b| Corners::of(*b)).collect();
        let mut costs = Vec::with_capacity(block.targets.len() * boxes.len());
        for target in block.targets {
            let target_corners = Corners::of(target.cxcywh);
            let label_probabilities = block
                .log_probabilities
                .iter()
                .skip(target.label)
                .step_by(classes.max(1));
            let queries = boxes.iter().zip(&corners).zip(label_probabilities);
            costs.extend(queries.map(|((cxcywh, corners), log_probability)| {
                let l1 = l1_distance(*cxcywh, target.cxcywh);
                let cost = bbox * l1
                    - class * log_probability.exp()
                    - giou * generalized_iou(corners, &target_corners);
                f64::from(cost)
            }));
        }
        costs
    }
}

fn l1_distance(a: [f32; 4], b: [f32; 4]) -> f32 {
    (a[0] - b[0]).abs() + (a[1] - b[1]).abs() + (a[2] - b[2]).abs() + (a[3] - b[3]).abs()
}

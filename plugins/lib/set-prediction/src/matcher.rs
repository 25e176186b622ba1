//! The assignment of targets to queries.

use crate::boxes::{cxcywh_to_xyxy, generalized_iou};
use crate::targets::{Predictions, Targets};
use cvhost_plugin_api::error::{PluginError, Result};
use tch::{Device, IndexOp, Kind, Tensor, no_grad};

/// Weights of the parts of the matching cost
/// `class · (−p̂(label)) + bbox · ‖b̂ − b‖₁ + giou · (−GIoU(b̂, b))`, with p̂ the softmax over all classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatchCosts {
    pub class: f64,
    pub bbox: f64,
    pub giou: f64,
}

/// The pairs of all layers and pictures. Every layer has the same number of pairs, `pairs`: of each picture the smaller one
/// of its targets and queries.
pub struct Matching {
    /// `[L, pairs]` i64 on the predictions' device: rows of the predictions flattened to `[L · N · Q]`.
    pub queries: Tensor,
    /// `[L, pairs]` i64 on the predictions' device: rows of the targets.
    pub targets: Tensor,
    pub pairs: i64,
}

impl MatchCosts {
    /// Matches every layer's predictions to the targets with the least total cost, each picture by itself. The costs of all
    /// layers and pictures come to the CPU in one copy. Fails where a target makes a cost that isn't a finite number, and says why; where predictions do, the pairs are
    /// arbitrary.
    pub fn assign(&self, layers: &[Predictions], targets: &Targets) -> Result<Matching> {
        let Some((pictures, queries)) = layers
            .first()
            .and_then(|l| l.logits.size3().ok())
            .map(|(n, q, _)| (n, q))
        else {
            return Err(PluginError::failed(
                "matching: expected logits [N, Q, C + 1] of at least one layer",
            ));
        };
        if targets.counts.len() as i64 != pictures {
            return Err(PluginError::failed(format!(
                "matching: predictions for {pictures} pictures, targets for {}",
                targets.counts.len()
            )));
        }
        let device = layers[0].logits.device();
        let pairs: i64 = targets.counts.iter().map(|&n| n.min(queries)).sum();
        let widest = targets.counts.iter().copied().max().unwrap_or(0);
        if pairs == 0 {
            let none = || Tensor::zeros([layers.len() as i64, 0], (Kind::Int64, device));
            return Ok(Matching {
                queries: none(),
                targets: none(),
                pairs: 0,
            });
        }

        let costs = no_grad(|| self.costs(layers, targets, widest));
        // The step's only copy from the device.
        let costs = Vec::<f32>::try_from(costs.to_device(Device::Cpu).reshape([-1]))?;

        let mut rows = Vec::with_capacity(2 * layers.len() * pairs as usize);
        let mut columns = Vec::with_capacity(layers.len() * pairs as usize);
        let blocks = costs.chunks_exact((queries * widest) as usize);
        let counts = targets.counts.iter().cycle();
        let mut first_target = 0;
        for (index, (block, &count)) in blocks.zip(counts).enumerate() {
            if index as i64 % pictures == 0 {
                first_target = 0;
            }
            // Without the columns that only pad this picture to the widest one.
            let cost: Vec<f64> = block
                .chunks_exact(widest as usize)
                .flat_map(|row| row.iter().take(count as usize).map(|&c| f64::from(c)))
                .collect();
            let (matched_queries, matched_targets) =
                match lsap::solve(queries as usize, count as usize, &cost, false) {
                    Ok(pairs) => pairs,
                    Err(error) => {
                        explain(&error, index as i64, pictures, layers, targets)?;
                        // The model's own outputs are no numbers: any pairs give a loss that says so, and the host's policy
                        // decides what becomes of the step.
                        let pairs: Vec<usize> = (0..count.min(queries) as usize).collect();
                        (pairs.clone(), pairs)
                    }
                };
            rows.extend(matched_queries.iter().map(|&q| index as i64 * queries + q as i64));
            columns.extend(matched_targets.iter().map(|&t| first_target + t as i64));
            first_target += count;
        }

        rows.extend(columns);
        let both = Tensor::from_slice(&rows)
            .reshape([2, layers.len() as i64, pairs])
            .to_device(device);
        Ok(Matching {
            queries: both.get(0),
            targets: both.get(1),
            pairs,
        })
    }

    /// `[L, N, Q, widest]` f32: costs of each picture's own targets, in columns that are padded to the widest picture.
    fn costs(&self, layers: &[Predictions], targets: &Targets, widest: i64) -> Tensor {
        let logits = stack(layers, |l| &l.logits);
        let boxes = stack(layers, |l| &l.pred_boxes);
        let classes = logits.size().last().copied().unwrap_or(1) - 1;
        let (_, pictures, queries, _) = logits.size4().unwrap_or_default();

        let rows = Tensor::from_slice(&padded_rows(&targets.counts, widest))
            .to_device(logits.device())
            .reshape([pictures, widest]);
        let labels = targets
            .class_labels
            .index_select(0, &rows.reshape([-1]))
            .reshape([1, pictures, 1, widest]);
        let target_boxes = targets
            .boxes
            .index_select(0, &rows.reshape([-1]))
            .reshape([1, pictures, 1, widest, 4]);

        // A label outside of the classes must not become an index: on a GPU that ends the process.
        let bad_label = labels.lt(0).logical_or(&labels.ge(classes));
        let index = labels
            .clamp(0, classes - 1)
            .expand([layers.len() as i64, pictures, queries, widest], false);
        let probability = logits.softmax(-1, Kind::Float).gather(-1, &index, false);
        let probability = probability.masked_fill(&bad_label, f64::NAN);

        let boxes = boxes.unsqueeze(3);
        let l1 = (&boxes - &target_boxes)
            .abs()
            .sum_dim_intlist([-1i64].as_slice(), false, Kind::Float);
        let giou = generalized_iou(&cxcywh_to_xyxy(&boxes), &cxcywh_to_xyxy(&target_boxes));
        l1 * self.bbox - probability * self.class - giou * self.giou
    }
}

/// The layers' tensors as one f32 tensor with a new dimension 0.
pub(crate) fn stack(layers: &[Predictions], of: impl Fn(&Predictions) -> &Tensor) -> Tensor {
    let all: Vec<Tensor> = layers.iter().map(|l| of(l).to_kind(Kind::Float)).collect();
    Tensor::stack(&all, 0)
}

/// Row numbers `[N · widest]` of each picture's targets; row 0 where a picture has fewer.
fn padded_rows(counts: &[i64], widest: i64) -> Vec<i64> {
    let mut first = 0;
    let mut rows = Vec::with_capacity(counts.len() * widest as usize);
    for &count in counts {
        rows.extend((0..widest).map(|column| if column < count { first + column } else { 0 }));
        first += count;
    }
    rows
}

/// Which of the inputs made a cost unusable; fine where it was a prediction. Only called when a step fails, so its copies cost
/// nothing.
fn explain(
    error: &lsap::LSAPError,
    block: i64,
    pictures: i64,
    layers: &[Predictions],
    targets: &Targets,
) -> Result<()> {
    let picture = block % pictures;
    let Some(layer) = layers.get((block / pictures) as usize) else {
        return Err(PluginError::failed(format!("matching failed: {error:?}")));
    };
    let first: i64 = targets.counts.iter().take(picture as usize).sum();
    let count = targets.counts.get(picture as usize).copied().unwrap_or(0);
    let classes = layer.logits.size().last().copied().unwrap_or(1) - 1;
    let labels = targets.class_labels.narrow(0, first, count);
    let finite = |t: &Tensor| t.isfinite().all().f_int64_value(&[]).is_ok_and(|v| v == 1);
    let at = format!("picture {picture} of the batch");
    if labels
        .lt(0)
        .logical_or(&labels.ge(classes))
        .any()
        .f_int64_value(&[])
        .is_ok_and(|v| v == 1)
    {
        let labels = Vec::<i64>::try_from(labels.to_device(Device::Cpu)).unwrap_or_default();
        return Err(PluginError::data(format!(
            "{at} has class labels {labels:?}, but the model has {classes} classes"
        ))
        .with_help("labels count from 0; check the class count of the checkpoint against the annotations"));
    }
    if !finite(&targets.boxes.narrow(0, first, count)) {
        return Err(PluginError::data(format!(
            "{at} has a target box with NaN or infinity"
        )));
    }
    if finite(&layer.logits.i(picture)) && finite(&layer.pred_boxes.i(picture)) {
        return Err(PluginError::failed(format!(
            "matching costs of {at} are not finite"
        )));
    }
    Ok(())
}

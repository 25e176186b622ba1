//! Predictions and targets of a step as plain numbers. Matching and the gradients of boxes are short loops over few numbers:
//! as tensor operations they would be a hundred small ones, and on a GPU as many launches.

use crate::targets::Targets;
use cvhost_plugin_api::error::{PluginError, Result};
use tch::{Device, Kind, Tensor};

/// `L` layers' predictions for `N` images, and the images' targets, the rows of each image behind those of the one before.
pub(crate) struct OnHost {
    pub layers: usize,
    pub images: usize,
    /// Queries an image.
    pub queries: usize,
    /// `C + 1`: with "no object", which is the last.
    pub classes: usize,
    /// `[L, N, Q, C + 1]`: log softmax of the logits.
    pub log_probabilities: Vec<f32>,
    /// `[L, N, Q, 4]` cxcywh.
    pub boxes: Vec<f32>,
    pub targets: Vec<Target>,
    /// How many targets each image has.
    pub counts: Vec<usize>,
}

pub(crate) struct Target {
    /// From 0, less than `C`.
    pub label: usize,
    /// cxcywh, finite.
    pub cxcywh: [f32; 4],
}

/// What one layer predicts for one image.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    /// `[Q, C + 1]`.
    pub log_probabilities: &'a [f32],
    /// `[Q, 4]` cxcywh.
    pub boxes: &'a [f32],
    pub targets: &'a [Target],
}

impl OnHost {
    /// Of `log_probabilities` `[L, N, Q, C + 1]` and `boxes` `[L, N, Q, 4]`, f32, in one copy from their device.
    ///
    /// # Errors
    /// Shapes that disagree; a target whose label isn't a class, or whose box isn't finite, with its image's place in the batch.
    pub fn copy(log_probabilities: &Tensor, boxes: &Tensor, targets: &Targets) -> Result<Self> {
        let (layers, images, queries, classes) = log_probabilities.size4()?;
        if boxes.size() != [layers, images, queries, 4] {
            return Err(PluginError::failed(format!(
                "matching: logits {:?} and boxes {:?} of {layers} layers; expected [N, Q, C + 1] and [N, Q, 4] each",
                log_probabilities.size(),
                boxes.size()
            )));
        }
        if targets.counts.len() as i64 != images {
            return Err(PluginError::failed(format!(
                "matching: predictions for {images} images, targets for {}",
                targets.counts.len()
            )));
        }
        // f32 holds every label that there can be.
        let labels = targets.class_labels.to_kind(Kind::Float);
        let [log_probabilities, boxes, target_boxes, labels] =
            to_host([log_probabilities, boxes, &targets.boxes, &labels])?;
        let counts: Vec<usize> = targets.counts.iter().map(|&n| n.max(0) as usize).collect();
        Ok(OnHost {
            layers: layers as usize,
            images: images as usize,
            queries: queries as usize,
            classes: classes as usize,
            log_probabilities,
            boxes,
            targets: checked(&labels, &target_boxes, &counts, classes - 1)?,
            counts,
        })
    }

    /// The blocks of all layers, a layer's images one after the other.
    pub fn blocks(&self) -> impl Iterator<Item = Block<'_>> {
        let mut rest = self.targets.as_slice();
        let images = self.counts.iter().map(|&count| {
            let (own, others) = rest.split_at(count.min(rest.len()));
            rest = others;
            own
        });
        let targets: Vec<&[Target]> = images.collect();
        let log_probabilities = self
            .log_probabilities
            .chunks_exact((self.queries * self.classes).max(1));
        let boxes = self.boxes.chunks_exact((self.queries * 4).max(1));
        let predictions = log_probabilities.zip(boxes).enumerate();
        predictions.filter_map(move |(index, (log_probabilities, boxes))| {
            Some(Block {
                log_probabilities,
                boxes,
                targets: targets.get(index % self.images)?,
            })
        })
    }
}

/// The tensors' values, f32. What is on another device comes in one copy.
fn to_host<const K: usize>(tensors: [&Tensor; K]) -> Result<[Vec<f32>; K]> {
    let flat = tensors.map(|t| t.detach().reshape([-1]));
    if flat.iter().all(|t| t.device() == Device::Cpu) {
        let mut values = [const { Vec::new() }; K];
        for (values, tensor) in values.iter_mut().zip(&flat) {
            *values = Vec::<f32>::try_from(tensor)?;
        }
        return Ok(values);
    }
    let packed = Vec::<f32>::try_from(Tensor::f_cat(&flat, 0)?.f_to_device(Device::Cpu)?)?;
    Ok(unpacked(&packed, flat.map(|t| t.numel())))
}

/// The parts of these lengths that lie one after the other in `packed`.
fn unpacked<const K: usize>(packed: &[f32], lengths: [usize; K]) -> [Vec<f32>; K] {
    let mut rest = packed;
    lengths.map(|length| {
        let (part, others) = rest.split_at(length.min(rest.len()));
        rest = others;
        part.to_vec()
    })
}

fn checked(labels: &[f32], boxes: &[f32], counts: &[usize], classes: i64) -> Result<Vec<Target>> {
    let mut first = 0;
    for (image, &count) in counts.iter().enumerate() {
        let at = format!("image {image} of the batch");
        let labels = labels.get(first..first + count).unwrap_or_default();
        if labels
            .iter()
            .any(|label| !(0..classes).contains(&(*label as i64)))
        {
            let labels: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
            return Err(PluginError::data(format!(
                "{at} has class labels {labels:?}, but the model has {classes} classes"
            ))
            .with_help(
                "labels count from 0; check the class count of the checkpoint against the annotations",
            ));
        }
        let boxes = boxes.get(first * 4..(first + count) * 4).unwrap_or_default();
        if !boxes.iter().all(|side| side.is_finite()) {
            return Err(PluginError::data(format!(
                "{at} has a target box with NaN or infinity"
            )));
        }
        first += count;
    }
    let (boxes, _) = boxes.as_chunks::<4>();
    Ok(labels
        .iter()
        .zip(boxes)
        .map(|(&label, &cxcywh)| Target {
            label: label as usize,
            cxcywh,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::unpacked;

    #[test]
    fn what_was_packed_for_the_copy_comes_apart_again() {
        let [a, b, c] = unpacked(&[1.0, 2.0, 3.0], [2, 0, 1]);
        assert_eq!((a, b, c), (vec![1.0, 2.0], vec![], vec![3.0]));
    }
}

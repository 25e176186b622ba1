//! A step's predictions and targets as arrays on the CPU. Matching and box gradients are short
//! loops over few numbers; as tensor operations they would take about a hundred kernel launches on
//! a GPU.

use crate::targets::Targets;
use cvhost_plugin_api::error::{PluginError, Result};
use tch::{Device, Kind, Tensor};

/// The predictions of `L` layers for `N` images, and the images' targets, concatenated.
pub(crate) struct OnHost {
    pub layers: usize,
    pub images: usize,
    /// Queries per image.
    pub queries: usize,
    /// `C + 1`: the classes, then "no object".
    pub classes: usize,
    /// `[L, N, Q, C + 1]`: the log softmax of the logits.
    pub log_probabilities: Vec<f32>,
    /// `[L, N, Q, 4]` cxcywh.
    pub boxes: Vec<f32>,
    pub targets: Vec<Target>,
    /// The number of targets per image.
    pub counts: Vec<usize>,
}

pub(crate) struct Target {
    /// In 0..C.
    pub label: usize,
    /// cxcywh, finite.
    pub cxcywh: [f32; 4],
}

/// One layer's predictions for one image, with the image's targets.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    /// `[Q, C + 1]`.
    pub log_probabilities: &'a [f32],
    /// `[Q, 4]` cxcywh.
    pub boxes: &'a [f32],
    pub targets: &'a [Target],
}

impl OnHost {
    /// Copies `log_probabilities` `[L, N, Q, C + 1]` f32, `boxes` `[L, N, Q, 4]` f32 and `targets`
    /// from their device in one transfer.
    ///
    /// # Errors
    /// Inconsistent shapes; a target whose label isn't a class or whose box isn't finite. The error
    /// gives the image's index in the batch.
    pub fn copy(log_probabilities: &Tensor, boxes: &Tensor, targets: &Targets) -> Result<Self> {
        let (layers, images, queries, classes) = log_probabilities.size4()?;
        if boxes.size() != [layers, images, queries, 4] {
            return Err(PluginError::failed(format!(
                "matching: got logits {:?} and boxes {:?}; expected [L, N, Q, C + 1] and [L, N, Q, 4]",
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
        // f32 represents every class index exactly.
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

    /// The blocks of all layers, layer by layer, each with its images in batch order.
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

/// The tensors' values, f32, in one transfer if they are on another device.
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

/// Splits `packed` into consecutive parts of these lengths.
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
        let place = format!("image {image} of the batch");
        let labels = labels.get(first..first + count).unwrap_or_default();
        if labels
            .iter()
            .any(|label| !(0..classes).contains(&(*label as i64)))
        {
            let labels: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
            return Err(PluginError::data(format!(
                "{place} has class labels {labels:?}, but the model has {classes} classes"
            ))
            .with_help(
                "labels start at 0; compare the checkpoint's number of classes with the annotations",
            ));
        }
        let boxes = boxes.get(first * 4..(first + count) * 4).unwrap_or_default();
        if !boxes.iter().all(|side| side.is_finite()) {
            return Err(PluginError::data(format!(
                "{place} has a target box with NaN or infinity"
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
    fn unpacking_inverts_packing() {
        let [a, b, c] = unpacked(&[1.0, 2.0, 3.0], [2, 0, 1]);
        assert_eq!((a, b, c), (vec![1.0, 2.0], vec![], vec![3.0]));
    }
}

//! Targets and batches for detection cases.

use super::Case;
use cvhost_plugin_api::data::{Array, Batch, Fields, Role};
use cvhost_plugin_api::torch::batch_item;
use tch::{Kind, Tensor};

/// Boxes (xyxy) and class labels of image `i`, as a task would provide them.
pub(super) fn targets(case: &Case, i: usize) -> Fields {
    let boxes = case.tensor(&format!("target.{i}.boxes")).to_kind(Kind::Double);
    let rows: Vec<[f64; 4]> = (0..boxes.size()[0])
        .map(|r| {
            let v = |c| boxes.double_value(&[r, c]);
            [v(0), v(1), v(0) + v(2), v(1) + v(3)]
        })
        .collect();
    let labels: Vec<i64> = Vec::try_from(case.tensor(&format!("target.{i}.class_labels"))).unwrap();
    Fields::new().with("boxes", Role::BOXES, Array::rows(&rows)).with(
        "class_labels",
        Role::COLUMN,
        Array::vector(&labels),
    )
}

/// The reference's own inputs and labels, which are relative to the padded canvas. Families with a
/// pixel mask can tell padding from the image. The others see the padding as part of the image, so
/// their metas give the whole canvas as the input size.
pub(super) fn reference_batch(case: &Case) -> Batch {
    let pixels = case.tensor("input.pixel_values").copy();
    let size = pixels.size();
    let mut items = vec![batch_item("pixel_values", pixels, vec![])];
    items.push(batch_item(
        "pixel_mask",
        case.tensor("input.pixel_mask").copy(),
        vec![],
    ));
    let all = |key: &str| -> Vec<Tensor> {
        (0..case.images.len())
            .map(|i| case.tensor(&format!("labels.{i}.{key}")).copy())
            .collect()
    };
    let (boxes, labels) = (all("boxes"), all("class_labels"));
    let mut offsets = vec![0u64];
    offsets.extend(boxes.iter().scan(0, |sum, b| {
        *sum += b.size()[0] as u64;
        Some(*sum)
    }));
    items.push(batch_item("boxes", Tensor::cat(&boxes, 0), offsets.clone()));
    items.push(batch_item("class_labels", Tensor::cat(&labels, 0), offsets));
    let mut metas = case.batch(case.records()).metas;
    if !case
        .input
        .collate()
        .into_result()
        .unwrap()
        .iter()
        .any(|rule| rule.mask == "pixel_mask")
    {
        for meta in &mut metas {
            (meta.input_width, meta.input_height) = (size[3] as u32, size[2] as u32);
        }
    }
    Batch {
        items: items.into(),
        metas: metas.into(),
        extra: Default::default(),
    }
}

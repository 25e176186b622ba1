//! Training labels of DETR-style detectors: boxes and classes.

use cvhost_plugin_api::data::{Array, Fields, Role};
use cvhost_plugin_api::error::{PluginError, Result};

/// Converts targets of the form `detection/1` to labels: `boxes` `[N, 4]` float32 cxcywh relative
/// to the image, `class_labels` `[N]` int64. Boxes are clipped to the `width` × `height` image, in
/// pixels; crowd annotations, and boxes whose clipped width or height is zero, are dropped.
///
/// # Errors
/// If a field is missing, or the columns have different lengths.
pub fn detection_labels(targets: &Fields, width: u32, height: u32) -> Result<Fields> {
    let boxes = targets.require("boxes")?.to_rows::<4>()?;
    let classes = targets.require("class_labels")?.values::<i64>()?;
    let crowds = match targets.get("iscrowd") {
        Some(column) => column.to_f64()?,
        None => vec![0.0; boxes.len()],
    };
    if boxes.len() != classes.len() || boxes.len() != crowds.len() {
        return Err(PluginError::failed(format!(
            "a sample has {} boxes, {} class labels and {} crowd flags; expected one of each per object",
            boxes.len(),
            classes.len(),
            crowds.len()
        )));
    }
    let (width, height) = (f64::from(width), f64::from(height));
    let mut relative = Vec::with_capacity(boxes.len());
    let mut labels = Vec::with_capacity(boxes.len());
    for ((&xyxy, &class), &crowd) in boxes.iter().zip(classes).zip(&crowds) {
        let kept = (crowd == 0.0)
            .then(|| relative_cxcywh(xyxy, width, height))
            .flatten();
        if let Some(cxcywh) = kept {
            relative.push(cxcywh);
            labels.push(class);
        }
    }
    Ok(Fields::new()
        .with("boxes", Role::OPAQUE, Array::rows(&relative))
        .with("class_labels", Role::OPAQUE, Array::vector(&labels)))
}

/// A box clipped to the image, relative to its size; `None` if nothing remains or a coordinate is
/// NaN.
fn relative_cxcywh([x0, y0, x1, y1]: [f64; 4], width: f64, height: f64) -> Option<[f32; 4]> {
    let (x0, x1) = (x0.clamp(0.0, width), x1.clamp(0.0, width));
    let (y0, y1) = (y0.clamp(0.0, height), y1.clamp(0.0, height));
    (x1 > x0 && y1 > y0).then(|| {
        [
            (x0 + x1) / 2.0 / width,
            (y0 + y1) / 2.0 / height,
            (x1 - x0) / width,
            (y1 - y0) / height,
        ]
        .map(|v| v as f32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(boxes: &[[f64; 4]], crowd: &[u8]) -> Fields {
        let classes: Vec<i64> = (0..boxes.len() as i64).collect();
        Fields::new()
            .with("boxes", Role::BOXES, Array::rows(boxes))
            .with("class_labels", Role::COLUMN, Array::vector(&classes))
            .with("iscrowd", Role::COLUMN, Array::vector(crowd))
    }

    #[test]
    fn boxes_are_relative_to_the_image() {
        let labels = detection_labels(&targets(&[[10.0, 20.0, 30.0, 60.0]], &[0]), 100, 80).unwrap();
        assert_eq!(
            labels.require("boxes").unwrap().values::<f32>().unwrap(),
            [0.2, 0.5, 0.2, 0.5]
        );
        assert_eq!(
            labels.require("class_labels").unwrap().values::<i64>().unwrap(),
            [0]
        );
    }

    #[test]
    fn crowds_and_boxes_outside_the_image_are_dropped() {
        let boxes = [
            [10.0, 10.0, 20.0, 20.0],
            [0.0, 0.0, 50.0, 50.0],
            [30.0, 30.0, 30.0, 40.0],
            [40.0, 50.0, 30.0, 60.0],
            [-20.0, 5.0, 0.0, 9.0],
            [f64::NAN, 0.0, 5.0, 5.0],
            [-10.0, -10.0, 200.0, 200.0],
        ];
        let labels = detection_labels(&targets(&boxes, &[0, 1, 0, 0, 0, 0, 0]), 100, 100).unwrap();
        assert_eq!(
            labels.require("class_labels").unwrap().values::<i64>().unwrap(),
            [0, 6]
        );
        let rows = labels.require("boxes").unwrap().to_rows::<4>().unwrap();
        assert_eq!(rows[1], [0.5, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn an_image_without_objects_gives_empty_labels() {
        let labels = detection_labels(&targets(&[], &[]), 100, 100).unwrap();
        assert_eq!(labels.require("boxes").unwrap().dims(), [0, 4]);
        assert_eq!(labels.require("class_labels").unwrap().dims(), [0]);
    }

    #[test]
    fn columns_of_different_lengths_are_an_error() {
        let error = detection_labels(&targets(&[[0.0, 0.0, 1.0, 1.0]], &[0, 0]), 10, 10).unwrap_err();
        assert!(
            error
                .message
                .contains("1 boxes, 1 class labels and 2 crowd flags"),
            "{error}"
        );
    }
}

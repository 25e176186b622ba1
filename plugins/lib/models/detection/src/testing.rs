//! Helpers for the tests of detection families.
#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a panic is a failure

use crate::forms::{BOXES, CLASS_LABELS, FORM, PIXEL_MASK, PIXEL_VALUES};
use crate::{Detector, Family};
use cvhost_plugin_api::data::{Batch, LabelSpec, Meta, Mode, Output, StepContext};
use cvhost_plugin_api::sdk::{Checkpoint, Model};
use cvhost_plugin_api::torch::batch_item;
use serde_json::Value;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tch::{Device, Kind, Tensor};

/// The classes `class 0`, `class 1`, …
pub fn spec(classes: usize) -> LabelSpec {
    LabelSpec {
        form: FORM.into(),
        names: (0..classes).map(|c| format!("class {c}").into()).collect(),
        ids: (0..classes as i64).collect(),
        ..Default::default()
    }
}

/// A checkpoint with this `config.json` and no `preprocessor_config.json`.
pub fn checkpoint(json: &Value) -> Checkpoint {
    Checkpoint {
        config: json.clone(),
        preprocessor: Value::Null,
        ..Checkpoint::default()
    }
}

/// The detector that `json` and `config` describe, with uninitialised parameters.
///
/// # Panics
/// If it can't be built.
pub fn detector<F: Family>(json: &Value, config: &Value, spec: &LabelSpec) -> Detector<F::Network> {
    Detector::new::<F>(&checkpoint(json), config, spec).unwrap()
}

/// Seeds torch's default generator. All tests of a process share it, so the guard must be held
/// until the last random number is drawn.
pub fn seeded(seed: i64) -> MutexGuard<'static, ()> {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let guard = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    guard
}

/// Initialises every parameter by its own rule, with the same values each time.
///
/// # Panics
/// If that fails.
pub fn initialise(model: &mut dyn Model) {
    let _guard = seeded(5);
    let parameters = model.parameters().unwrap();
    let names: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
    model.initialise(&names).unwrap();
}

/// `images` `[3, H, W]`, padded at the bottom and right to the largest, with mask, and each image's
/// targets: boxes cxcywh with their labels. Original images have twice the input's size.
///
/// # Panics
/// On images of another shape.
pub fn batch(images: &[Tensor], targets: &[Vec<([f32; 4], i64)>]) -> Batch {
    let sizes: Vec<(i64, i64)> = images
        .iter()
        .map(|image| image.size3().unwrap())
        .map(|(_, height, width)| (height, width))
        .collect();
    let height = sizes.iter().map(|s| s.0).max().unwrap();
    let width = sizes.iter().map(|s| s.1).max().unwrap();
    let count = images.len() as i64;
    let pixels = Tensor::zeros([count, 3, height, width], (Kind::Float, Device::Cpu));
    let mask = Tensor::zeros([count, height, width], (Kind::Int64, Device::Cpu));
    let mut metas = Vec::new();
    for (index, (image, &(h, w))) in images.iter().zip(&sizes).enumerate() {
        let index = index as i64;
        pixels.get(index).narrow(1, 0, h).narrow(2, 0, w).copy_(image);
        let _ = mask.get(index).narrow(0, 0, h).narrow(1, 0, w).fill_(1);
        metas.push(Meta {
            width: 2 * w as u32,
            height: 2 * h as u32,
            input_width: w as u32,
            input_height: h as u32,
            ..Default::default()
        });
    }
    let rows = || targets.iter().flatten();
    let boxes: Vec<f32> = rows().flat_map(|(cxcywh, _)| *cxcywh).collect();
    let labels: Vec<i64> = rows().map(|(_, label)| *label).collect();
    let mut offsets = vec![0u64];
    offsets.extend(targets.iter().scan(0, |end, of_image| {
        *end += of_image.len() as u64;
        Some(*end)
    }));
    let boxes = Tensor::from_slice(&boxes).reshape([labels.len() as i64, 4]);
    Batch {
        items: vec![
            batch_item(PIXEL_VALUES, pixels, vec![]),
            batch_item(PIXEL_MASK, mask, vec![]),
            batch_item(BOXES, boxes, offsets.clone()),
            batch_item(CLASS_LABELS, Tensor::from_slice(&labels), offsets),
        ]
        .into(),
        metas: metas.into(),
        extra: Default::default(),
    }
}

/// The context of a first step.
pub fn context(mode: Mode) -> StepContext<'static> {
    StepContext {
        mode,
        step: 0,
        epoch: 0,
        normalisers: Vec::new(),
        ..StepContext::new(mode)
    }
}

/// The raw output of this name.
///
/// # Panics
/// If there is none.
pub fn output(output: &Output, name: &str) -> Tensor {
    let found = output.outputs.iter().find(|o| o.name == name);
    found.unwrap().tensor.tensor()
}

/// The largest absolute difference of two tensors.
pub fn difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

//! Helpers for tests of classifiers.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic fails the test

use crate::{CLASS_DISTRIBUTION, FORM};
use cvhost_image_processor::PIXEL_VALUES;
use cvhost_plugin_api::data::{Batch, LabelSpec, Meta, Mode, Output, StepContext};
use cvhost_plugin_api::sdk::Model;
use cvhost_plugin_api::torch::batch_item;
use tch::{Device, Kind, Tensor, no_grad};

/// Labels with the classes `class 0`, `class 1`, …; `extra` is [`LabelSpec::extra`].
pub fn spec(classes: usize, extra: &str) -> LabelSpec {
    LabelSpec {
        form: FORM.into(),
        names: (0..classes).map(|c| format!("class {c}").into()).collect(),
        ids: (0..classes as i64).collect(),
        extra: extra.into(),
    }
}

/// The sine of 0, f, 2f, …, computed in float64, which is easy to reproduce in other programs.
pub fn waves(shape: &[i64], frequency: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    (Tensor::arange(count, (Kind::Double, Device::Cpu)) * frequency)
        .sin()
        .to_kind(Kind::Float)
        .reshape(shape)
}

/// Fills all parameters with waves whose frequency is derived from the name, scaled to keep the
/// network's activations in range.
pub fn fill_with_waves(model: &dyn Model) {
    for parameter in model.parameters().unwrap() {
        let mut tensor = parameter.tensor.tensor();
        let (name, shape) = (parameter.name.as_str(), tensor.size());
        let sum: u32 = name.bytes().map(u32::from).sum();
        let wave = waves(&shape, 0.1 + f64::from(sum % 97) / 100.0);
        let values = match shape.as_slice() {
            [] => wave,
            _ if name.ends_with("running_var") => wave * 0.5 + 1.0,
            [_] if name.ends_with("weight") => wave * 0.2 + 1.0,
            [_] => wave * 0.2,
            [_, inner @ ..] => wave * (2.0 / (inner.iter().product::<i64>() as f64).sqrt()),
        };
        no_grad(|| tensor.copy_(&values));
    }
}

/// A batch of images `[N, 3, H, W]` with their targets `[N, C]`.
pub fn batch(pixel_values: Tensor, targets: Option<Tensor>) -> Batch {
    let size = pixel_values.size();
    let (images, height, width) = (size[0], size[2] as u32, size[3] as u32);
    let meta = Meta {
        width,
        height,
        input_width: width,
        input_height: height,
        ..Meta::default()
    };
    let mut items = vec![batch_item(PIXEL_VALUES, pixel_values, vec![])];
    items.extend(targets.map(|t| batch_item(CLASS_DISTRIBUTION, t, vec![])));
    Batch {
        items: items.into(),
        metas: vec![meta; images as usize].into(),
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

/// The logits `[N, C]`, which must be the only output.
pub fn logits(output: &Output) -> Tensor {
    output.outputs[0].tensor.tensor()
}

/// Whether the values agree to 5 decimal places.
pub fn close(ours: &Tensor, recorded: &[f64]) -> bool {
    let ours = ours.to_kind(Kind::Double).reshape([-1]);
    let recorded = Tensor::from_slice(recorded);
    ours.size() == recorded.size() && ours.allclose(&recorded, 2e-5, 2e-5, false)
}

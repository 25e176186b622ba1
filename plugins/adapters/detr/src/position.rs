//! Positions of features in their image as sine embeddings (Vaswani et al. 2017), half of the
//! channels for each axis.

use std::f64::consts::TAU;
use tch::{Device, Kind, Tensor, no_grad};

const TEMPERATURE: f64 = 10_000.0;
const EPSILON: f64 = 1e-6;

/// `mask` `[N, H, W]` bool, true on the image, to embeddings `[N, H · W, channels]` f32. Positions
/// are relative to the image's own extent, so they don't depend on padding.
pub fn sine_embedding(mask: &Tensor, channels: i64) -> Tensor {
    no_grad(|| {
        let present = mask.to_kind(Kind::Float);
        let position = |dim: i64| {
            let count = present.cumsum(dim, Kind::Float);
            let extent = count.narrow(dim, count.size().get(dim as usize).copied().unwrap_or(1) - 1, 1);
            (count / (extent + EPSILON) * TAU).unsqueeze(-1)
        };
        let wavelengths = wavelengths(channels / 2, mask.device());
        let waves = |dim: i64| {
            let angles = position(dim) / &wavelengths;
            Tensor::stack(&[angles.sin(), angles.cos()], -1).flatten(-2, -1)
        };
        Tensor::cat(&[waves(1), waves(2)], -1).flatten(1, 2)
    })
}

/// The embeddings `[1, H · W, channels]` of images without padding.
pub fn sine_embedding_unpadded(height: i64, width: i64, channels: i64, device: Device) -> Tensor {
    sine_embedding(&Tensor::ones([1, height, width], (Kind::Bool, device)), channels)
}

/// `[channels / 2]`: the wavelength of each sine and cosine pair.
fn wavelengths(channels: i64, device: Device) -> Tensor {
    let exponents = Tensor::arange_start_step(0, channels, 2, (Kind::Float, device)) / channels as f64;
    (exponents * TEMPERATURE.ln()).exp()
}

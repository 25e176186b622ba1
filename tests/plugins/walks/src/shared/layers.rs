//! Layers of the walks' networks, and the conversion of images into their inputs.

use cvhost_plugin_api::data::{ArrayMut, Image, Sample};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::torch::tch::Tensor;
use cvhost_plugin_api::torch::{Init, Scope};

/// A padded convolution with bias, whose output has the input's size divided by the strides.
pub struct Conv {
    weight: Tensor,
    bias: Tensor,
    stride: [i64; 2],
    dilation: i64,
}

impl Conv {
    /// `from` input and `to` output channels, with a kernel of `side` x `side`.
    pub fn new(scope: &Scope, from: i64, to: i64, side: i64) -> Self {
        Conv {
            weight: scope.parameter("weight", &[to, from, side, side], Init::KaimingNormalFanOut),
            bias: scope.no_decay("bias", &[to], Init::Constant(0.0)),
            stride: [1, 1],
            dilation: 1,
        }
    }

    /// Sets the strides, vertical and horizontal.
    pub fn every(mut self, stride: [i64; 2]) -> Self {
        self.stride = stride;
        self
    }

    /// Sets the dilation.
    pub fn spread(mut self, dilation: i64) -> Self {
        self.dilation = dilation;
        self
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let side = self.weight.size().last().copied().unwrap_or(1);
        let padding = side / 2 * self.dilation;
        Ok(x.f_conv2d(
            &self.weight,
            Some(&self.bias),
            self.stride,
            [padding, padding],
            [self.dilation, self.dilation],
            1,
        )?)
    }
}

/// Applies convolutions, with ReLU after each.
pub fn relu_stack(layers: &[Conv], x: &Tensor) -> Result<Tensor> {
    let mut x = x.shallow_clone();
    for layer in layers {
        x = layer.forward(&x)?.f_relu()?;
    }
    Ok(x)
}

/// The sample's image.
pub fn image(sample: &Sample) -> Result<&Image> {
    sample
        .images
        .first()
        .ok_or_else(|| PluginError::data("the sample has no image"))
}

/// Writes colours into a `[3, H, W]` f32 slot, with 0..255 mapped to -1..1; `colour` returns the
/// colour at column x and row y.
pub fn write_colours(out: &mut ArrayMut<'_>, colour: impl Fn(u32, u32) -> [f32; 3]) -> Result<()> {
    let &[_, height, width] = out.dims() else {
        return Err(PluginError::failed(format!(
            "the slot has shape {:?}; expected [3, H, W]",
            out.dims()
        )));
    };
    for y in 0..height {
        let colours: Vec<[f32; 3]> = (0..width).map(|x| colour(x as u32, y as u32)).collect();
        for c in 0..3u64 {
            for (value, rgb) in out.row_mut::<f32>(&[c, y])?.iter_mut().zip(&colours) {
                *value = rgb.get(c as usize).copied().unwrap_or(0.0) / 127.5 - 1.0;
            }
        }
    }
    Ok(())
}

/// Writes an image pixel by pixel.
pub fn write_image(out: &mut ArrayMut<'_>, image: &Image) -> Result<()> {
    write_colours(out, |x, y| image.pixel(x, y).unwrap_or_default().map(f32::from))
}

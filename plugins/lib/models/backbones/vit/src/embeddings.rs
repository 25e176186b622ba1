//! From an image to tokens, and where each one is.

use crate::config::VitConfig;
use cvhost_plugin_api::torch::{Init, Scope};
use tch::{Kind, Tensor};

/// Rows and columns of patches.
pub type Grid = (i64, i64);

/// Cuts images into patches and projects each to a token: a convolution whose stride is its size.
pub struct PatchEmbeddings {
    weight: Tensor,
    bias: Tensor,
    patch_size: i64,
}

impl PatchEmbeddings {
    /// Makes `patch_embeddings.projection` in `scope`.
    pub fn new(scope: &Scope, config: &VitConfig) -> Self {
        let (d, patch) = (config.hidden_size, config.patch_size);
        let projection = scope.sub("patch_embeddings.projection");
        PatchEmbeddings {
            weight: projection.parameter("weight", &[d, 3, patch, patch], config.init()),
            bias: projection.no_decay("bias", &[d], Init::Constant(0.0)),
            patch_size: patch,
        }
    }

    /// `pixel_values` `[N, 3, H, W]` to tokens `[N, rows · columns, d]`, and the grid that they come from. Pixels beyond the
    /// last whole patch aren't seen.
    pub fn forward(&self, pixel_values: &Tensor) -> (Tensor, Grid) {
        let stride = [self.patch_size, self.patch_size];
        let map = pixel_values.conv2d(&self.weight, Some(&self.bias), stride, [0, 0], [1, 1], 1);
        let size = map.size();
        let side = |dimension: usize| size.get(dimension).copied().unwrap_or(1);
        (map.flatten(2, 3).transpose(1, 2), (side(2), side(3)))
    }
}

/// Position embeddings `[K, before + rows · columns + after, d]` that are stored for the grid `stored`, as an image of the
/// grid `wanted` needs them: those of the patches are interpolated (bicubic, corners not aligned), those of the `before`
/// tokens in front of them and of the ones behind them stay. Interpolated in float32.
pub fn interpolate(positions: &Tensor, before: i64, stored: Grid, wanted: Grid) -> Tensor {
    if wanted == stored {
        return positions.shallow_clone();
    }
    let size = positions.size();
    let (sets, all, d) = match size.as_slice() {
        &[sets, all, d] => (sets, all, d),
        _ => (1, 1, 1),
    };
    let patches = stored.0 * stored.1;
    let parts = positions.split_with_sizes([before, patches, all - before - patches], 1);
    let [first, patches, last] = parts.as_slice() else {
        return positions.shallow_clone();
    };
    let map = patches
        .reshape([sets, stored.0, stored.1, d])
        .permute([0, 3, 1, 2])
        .to_kind(Kind::Float)
        .upsample_bicubic2d([wanted.0, wanted.1], false, None, None);
    let patches = map.flatten(2, 3).transpose(1, 2).to_kind(positions.kind());
    Tensor::cat(&[first, &patches, last], 1)
}

//! Patch embeddings and position embeddings.

use crate::config::VitConfig;
use cvhost_plugin_api::torch::{Init, Scope};
use tch::{Kind, Tensor};

/// Rows and columns of patches.
pub type Grid = (i64, i64);

/// Splits images into patches and projects each to a token: a convolution with equal stride and
/// kernel size.
pub struct PatchEmbeddings {
    weight: Tensor,
    bias: Tensor,
    patch_size: i64,
}

impl PatchEmbeddings {
    /// Creates `patch_embeddings.projection` in `scope`.
    pub fn new(scope: &Scope, config: &VitConfig) -> Self {
        let (d, patch) = (config.hidden_size, config.patch_size);
        let projection = scope.sub("patch_embeddings.projection");
        PatchEmbeddings {
            weight: projection.parameter("weight", &[d, 3, patch, patch], config.init()),
            bias: projection.no_decay("bias", &[d], Init::Constant(0.0)),
            patch_size: patch,
        }
    }

    /// Maps `pixel_values` `[N, 3, H, W]` to tokens `[N, rows · columns, d]`, and returns their
    /// grid. Pixels beyond the last whole patch are ignored.
    pub fn forward(&self, pixel_values: &Tensor) -> (Tensor, Grid) {
        let stride = [self.patch_size, self.patch_size];
        let map = pixel_values.conv2d(&self.weight, Some(&self.bias), stride, [0, 0], [1, 1], 1);
        let size = map.size();
        let side = |dimension: usize| size.get(dimension).copied().unwrap_or(1);
        (map.flatten(2, 3).transpose(1, 2), (side(2), side(3)))
    }
}

/// Adapts position embeddings `[K, before + rows · columns + after, d]` from the grid `stored` to
/// the grid `wanted`: those of the patches are interpolated in float32 (bicubic, corners not
/// aligned), those of the `before` tokens in front of them and of the tokens after them are
/// unchanged.
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

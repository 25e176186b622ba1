//! The vision transformer (Dosovitskiy et al. 2021), read out at detection tokens instead of the
//! class token.

use crate::config::YolosConfig;
use cvhost_layers::LayerNorm;
use cvhost_plugin_api::torch::Scope;
use cvhost_vit::{EncoderLayer, Grid, PatchEmbeddings, interpolate};
use tch::Tensor;

/// The encoder over class token, patches and detection tokens.
pub struct VisionTransformer {
    embeddings: Embeddings,
    layers: Vec<EncoderLayer>,
    /// `[L - 1, 1, positions, d]`: added after each layer except the last.
    mid_position_embeddings: Option<Tensor>,
    layernorm: LayerNorm,
    config: YolosConfig,
}

impl VisionTransformer {
    pub fn new(scope: &Scope, config: &YolosConfig) -> Self {
        let (encoder, d) = (scope.sub("encoder"), config.vit.hidden_size);
        let mid_shape = [config.vit.layers - 1, 1, config.positions(), d];
        let mid = || encoder.parameter("mid_position_embeddings", &mid_shape, config.vit.init());
        let norm = scope.sub("layernorm").at_depth(config.vit.layers as u32);
        VisionTransformer {
            embeddings: Embeddings::new(&scope.sub("embeddings"), config),
            layers: EncoderLayer::stack(&encoder, &config.vit),
            mid_position_embeddings: config.mid_position_embeddings.then(mid),
            layernorm: LayerNorm::new(&norm, d, config.vit.layer_norm_eps),
            config: config.clone(),
        }
    }

    /// `pixel_values` `[N, 3, H, W]` to the detection tokens' states `[N, Q, d]` after the last
    /// layer, or after each layer if `every_layer`.
    pub fn forward(&self, pixel_values: &Tensor, train: bool, every_layer: bool) -> Vec<Tensor> {
        let mut states = Vec::new();
        let (mut x, grid) = self.embeddings.forward(pixel_values, train);
        let mid = self
            .mid_position_embeddings
            .as_ref()
            .map(|m| interpolate(&m.squeeze_dim(1), 1, self.config.vit.grid, grid));
        for (i, layer) in self.layers.iter().enumerate() {
            let all = x.size()[1];
            let first_detection = all - self.config.detection_tokens;
            if i + 1 == self.layers.len() {
                let detection = layer.forward_only(&x, first_detection..all, train);
                states.push(self.layernorm.forward(&detection));
                break;
            }
            let out = layer.forward(&x, train);
            x = match &mid {
                Some(mid) => out + mid.get(i as i64),
                None => out,
            };
            if every_layer {
                let detection = x.narrow(1, first_detection, self.config.detection_tokens);
                states.push(self.layernorm.forward(&detection));
            }
        }
        states
    }
}

/// The tokens `[CLS] patches… [DET]…` with position embeddings.
struct Embeddings {
    cls_token: Tensor,
    detection_tokens: Tensor,
    patches: PatchEmbeddings,
    position_embeddings: Tensor,
    config: YolosConfig,
}

impl Embeddings {
    fn new(scope: &Scope, config: &YolosConfig) -> Self {
        let d = config.vit.hidden_size;
        // Random as in the paper: equal detection tokens would all learn the same.
        let random = |name, count| scope.parameter(name, &[1, count, d], config.vit.init());
        Embeddings {
            cls_token: random("cls_token", 1),
            detection_tokens: random("detection_tokens", config.detection_tokens),
            position_embeddings: random("position_embeddings", config.positions()),
            patches: PatchEmbeddings::new(scope, &config.vit),
            config: config.clone(),
        }
    }

    /// Images `[N, 3, H, W]` to tokens `[N, 1 + patches + Q, d]`, and the patches' grid.
    fn forward(&self, pixel_values: &Tensor, train: bool) -> (Tensor, Grid) {
        let (patches, grid) = self.patches.forward(pixel_values);
        let images = patches.size()[0];
        let cls = self.cls_token.expand([images, -1, -1], false);
        let detection = self.detection_tokens.expand([images, -1, -1], false);
        let tokens = Tensor::cat(&[cls, patches, detection], 1);
        let positions = interpolate(&self.position_embeddings, 1, self.config.vit.grid, grid);
        let placed = (tokens + positions).dropout(self.config.vit.hidden_dropout, train);
        (placed, grid)
    }
}

//! The network: one or two learned tokens followed by the patches, processed by the encoder.

use crate::config::Family;
use cvhost_layers::LayerNorm;
use cvhost_plugin_api::torch::{Init, Scope};
use cvhost_vit::{EncoderLayer, PatchEmbeddings, VitConfig, interpolate};
use tch::Tensor;

/// A vision transformer without a head.
pub struct VisionTransformer {
    embeddings: Embeddings,
    layers: Vec<EncoderLayer>,
    layernorm: LayerNorm,
}

impl VisionTransformer {
    pub fn new(scope: &Scope, config: &VitConfig, family: Family) -> Self {
        let norm = scope.sub("layernorm").at_depth(config.layers as u32);
        VisionTransformer {
            embeddings: Embeddings::new(&scope.sub("embeddings"), config, family),
            layers: EncoderLayer::stack(&scope.sub("encoder"), config),
            layernorm: LayerNorm::new(&norm, config.hidden_size, config.layer_norm_eps),
        }
    }

    /// Maps `pixel_values` `[N, 3, H, W]` to the last hidden states of the first `tokens` tokens,
    /// `[N, tokens, d]`: the class token, and the distillation token if present.
    pub fn forward(&self, pixel_values: &Tensor, tokens: i64, train: bool) -> Tensor {
        let mut x = self.embeddings.forward(pixel_values, train);
        if let Some((last, others)) = self.layers.split_last() {
            for layer in others {
                x = layer.forward(&x, train);
            }
            x = last.forward_only(&x, 0..tokens, train);
        }
        self.layernorm.forward(&x)
    }
}

/// The sequence `[CLS] patches…` or `[CLS] [DIST] patches…`, with position embeddings added.
struct Embeddings {
    cls_token: Tensor,
    distillation_token: Option<Tensor>,
    patches: PatchEmbeddings,
    position_embeddings: Tensor,
    config: VitConfig,
}

impl Embeddings {
    fn new(scope: &Scope, config: &VitConfig, family: Family) -> Self {
        let d = config.hidden_size;
        // Initialised like in transformers.
        let init = match family {
            Family::Vit => config.init(),
            Family::Deit | Family::DistilledDeit => Init::Constant(0.0),
        };
        let token = |name| scope.parameter(name, &[1, 1, d], init);
        let distilled = family.has_distillation_token();
        let positions = 1 + i64::from(distilled) + config.patches();
        Embeddings {
            cls_token: token("cls_token"),
            distillation_token: distilled.then(|| token("distillation_token")),
            position_embeddings: scope.parameter("position_embeddings", &[1, positions, d], init),
            patches: PatchEmbeddings::new(scope, config),
            config: config.clone(),
        }
    }

    fn forward(&self, pixel_values: &Tensor, train: bool) -> Tensor {
        let (patches, grid) = self.patches.forward(pixel_values);
        let images = patches.size().first().copied().unwrap_or(1);
        let mut tokens = vec![self.cls_token.expand([images, -1, -1], false)];
        tokens.extend(
            self.distillation_token
                .as_ref()
                .map(|token| token.expand([images, -1, -1], false)),
        );
        let own = tokens.len() as i64;
        tokens.push(patches);
        let positions = interpolate(&self.position_embeddings, own, self.config.grid, grid);
        (Tensor::cat(&tokens, 1) + positions).dropout(self.config.hidden_dropout, train)
    }
}

//! The vision transformer (Dosovitskiy et al. 2021) with detection tokens instead of a class token's readout.

use crate::config::{Activation, YolosConfig};
use cvhost_plugin_api::torch::{Init, Scope};
use tch::{Kind, Tensor};

/// Patches, class token and detection tokens through the encoder.
pub struct VisionTransformer {
    embeddings: Embeddings,
    layers: Vec<Layer>,
    /// `[L - 1, 1, positions, d]`: added after each layer but the last.
    mid_position_embeddings: Option<Tensor>,
    layernorm: LayerNorm,
    config: YolosConfig,
}

impl VisionTransformer {
    pub fn new(scope: &Scope, config: &YolosConfig) -> Self {
        let encoder = scope.sub("encoder");
        let layer = |i: i64| Layer::new(&encoder.sub("layer").sub(i).at_depth(i as u32 + 1), config);
        let mid_shape = [config.layers - 1, 1, config.positions(), config.hidden_size];
        let mid = || encoder.parameter("mid_position_embeddings", &mid_shape, normal(config));
        VisionTransformer {
            embeddings: Embeddings::new(&scope.sub("embeddings"), config),
            layers: (0..config.layers).map(layer).collect(),
            mid_position_embeddings: config.mid_position_embeddings.then(mid),
            layernorm: LayerNorm::new(&scope.sub("layernorm").at_depth(config.layers as u32), config),
            config: config.clone(),
        }
    }

    /// `pixel_values` `[N, 3, H, W]` to the detection tokens' states after the last layer, `[N, Q, d]`; with `every_layer`
    /// after each one.
    pub fn forward(&self, pixel_values: &Tensor, train: bool, every_layer: bool) -> Vec<Tensor> {
        let grid = grid_of(pixel_values, self.config.patch_size);
        let mid = self
            .mid_position_embeddings
            .as_ref()
            .map(|m| interpolate(m, grid, &self.config));

        let mut states = Vec::new();
        let mut x = self.embeddings.forward(pixel_values, grid, train);
        for (i, layer) in self.layers.iter().enumerate() {
            let last = i + 1 == self.layers.len();
            let out = layer.forward(&x, train);
            x = match &mid {
                Some(mid) if !last => out + mid.get(i as i64),
                _ => out,
            };
            if last || every_layer {
                let tokens = self.config.detection_tokens;
                states.push(self.layernorm.forward(&x.narrow(1, x.size()[1] - tokens, tokens)));
            }
        }
        states
    }
}

/// `[CLS] patches… [DET]…`, with positions.
struct Embeddings {
    cls_token: Tensor,
    detection_tokens: Tensor,
    /// A convolution whose stride is its size.
    projection: (Tensor, Tensor),
    position_embeddings: Tensor,
    config: YolosConfig,
}

impl Embeddings {
    fn new(scope: &Scope, config: &YolosConfig) -> Self {
        let (d, patch) = (config.hidden_size, config.patch_size);
        let projection = scope.sub("patch_embeddings").sub("projection");
        // The paper draws tokens and positions at random; equal detection tokens would all learn the same.
        Embeddings {
            cls_token: scope.parameter("cls_token", &[1, 1, d], normal(config)),
            detection_tokens: scope.parameter(
                "detection_tokens",
                &[1, config.detection_tokens, d],
                normal(config),
            ),
            position_embeddings: scope.parameter(
                "position_embeddings",
                &[1, config.positions(), d],
                normal(config),
            ),
            projection: (
                projection.parameter("weight", &[d, 3, patch, patch], normal(config)),
                projection.no_decay("bias", &[d], Init::Constant(0.0)),
            ),
            config: config.clone(),
        }
    }

    fn forward(&self, pixel_values: &Tensor, grid: (i64, i64), train: bool) -> Tensor {
        let (weight, bias) = &self.projection;
        let stride = [self.config.patch_size, self.config.patch_size];
        let patches = pixel_values
            .conv2d(weight, Some(bias), stride, [0, 0], [1, 1], 1)
            .flatten(2, 3)
            .transpose(1, 2);
        let (batch, d) = (patches.size()[0], self.config.hidden_size);
        let cls = self.cls_token.expand([batch, 1, d], false);
        let detection = self
            .detection_tokens
            .expand([batch, self.config.detection_tokens, d], false);

        let tokens = Tensor::cat(&[cls, patches, detection], 1);
        let positions =
            interpolate(&self.position_embeddings.unsqueeze(0), grid, &self.config).squeeze_dim(0);
        (tokens + positions).dropout(self.config.hidden_dropout, train)
    }
}

/// A block with norms before attention and before the feed-forward part.
struct Layer {
    norm_before: LayerNorm,
    attention: SelfAttention,
    norm_after: LayerNorm,
    intermediate: Linear,
    output: Linear,
    activation: Activation,
    dropout: f64,
}

impl Layer {
    fn new(scope: &Scope, config: &YolosConfig) -> Self {
        let (d, inner) = (config.hidden_size, config.intermediate_size);
        Layer {
            norm_before: LayerNorm::new(&scope.sub("layernorm_before"), config),
            attention: SelfAttention::new(&scope.sub("attention"), config),
            norm_after: LayerNorm::new(&scope.sub("layernorm_after"), config),
            intermediate: Linear::new(&scope.sub("intermediate.dense"), d, inner, true, config),
            output: Linear::new(&scope.sub("output.dense"), inner, d, true, config),
            activation: config.activation,
            dropout: config.hidden_dropout,
        }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let x = x + self.attention.forward(&self.norm_before.forward(x), train);
        let inner = activate(
            self.activation,
            &self.intermediate.forward(&self.norm_after.forward(&x)),
        );
        x + self.output.forward(&inner).dropout(self.dropout, train)
    }
}

/// Multi-head attention of every token to every token.
struct SelfAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: i64,
    attention_dropout: f64,
    dropout: f64,
}

impl SelfAttention {
    fn new(scope: &Scope, config: &YolosConfig) -> Self {
        let d = config.hidden_size;
        let part = |name: &str| Linear::new(&scope.sub("attention").sub(name), d, d, config.qkv_bias, config);
        SelfAttention {
            query: part("query"),
            key: part("key"),
            value: part("value"),
            output: Linear::new(&scope.sub("output.dense"), d, d, true, config),
            heads: config.heads,
            attention_dropout: config.attention_dropout,
            dropout: config.hidden_dropout,
        }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let split = |part: &Linear| part.forward(x).unflatten(-1, [self.heads, -1]).transpose(1, 2);
        let dropout = if train { self.attention_dropout } else { 0.0 };
        let attended = Tensor::scaled_dot_product_attention::<Tensor>(
            &split(&self.query),
            &split(&self.key),
            &split(&self.value),
            None,
            dropout,
            false,
            None,
            false,
        );
        self.output
            .forward(&attended.transpose(1, 2).flatten(2, 3))
            .dropout(self.dropout, train)
    }
}

/// `x · Wᵀ + b`.
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    pub fn new(scope: &Scope, inputs: i64, outputs: i64, bias: bool, config: &YolosConfig) -> Self {
        Linear {
            weight: scope.parameter("weight", &[outputs, inputs], normal(config)),
            bias: bias.then(|| scope.no_decay("bias", &[outputs], Init::Constant(0.0))),
        }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }
}

struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    fn new(scope: &Scope, config: &YolosConfig) -> Self {
        LayerNorm {
            weight: scope.no_decay("weight", &[config.hidden_size], Init::Constant(1.0)),
            bias: scope.no_decay("bias", &[config.hidden_size], Init::Constant(0.0)),
            eps: config.layer_norm_eps,
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(
            self.weight.size(),
            Some(&self.weight),
            Some(&self.bias),
            self.eps,
            true,
        )
    }
}

fn activate(activation: Activation, x: &Tensor) -> Tensor {
    match activation {
        Activation::Gelu => x.gelu("none"),
        Activation::GeluTanh => x.gelu("tanh"),
        Activation::Relu => x.relu(),
        Activation::Silu => x.silu(),
    }
}

fn normal(config: &YolosConfig) -> Init {
    Init::Normal {
        std: config.initializer_range,
    }
}

/// Rows and columns of whole patches in a batch of pictures; pixels beyond the last whole patch aren't seen.
fn grid_of(pixel_values: &Tensor, patch_size: i64) -> (i64, i64) {
    let size = pixel_values.size();
    (size[2] / patch_size, size[3] / patch_size)
}

/// Position embeddings `[K, 1, positions, d]` for a picture of `grid` patches: those of the patches are interpolated (bicubic),
/// those of the tokens around them stay.
fn interpolate(positions: &Tensor, grid: (i64, i64), config: &YolosConfig) -> Tensor {
    if grid == config.grid {
        return positions.shallow_clone();
    }
    let (sets, d, tokens) = (positions.size()[0], config.hidden_size, config.detection_tokens);
    let (rows, columns) = config.grid;
    let parts = positions.split_with_sizes([1, rows * columns, tokens], 2);
    let map = parts[1]
        .reshape([sets, rows, columns, d])
        .permute([0, 3, 1, 2])
        .to_kind(Kind::Float);
    let map = map.upsample_bicubic2d([grid.0, grid.1], false, None, None);
    let patches = map
        .flatten(2, 3)
        .transpose(1, 2)
        .unsqueeze(1)
        .to_kind(positions.kind());
    Tensor::cat(&[&parts[0], &patches, &parts[2]], 2)
}

//! Encoder and decoder (sections 3.2 and A.3 of the paper): post-norm layers, positional encodings
//! added to queries and keys of every attention, object queries decoded in parallel.

use crate::config::DetrConfig;
use cvhost_layers::{Activation, LayerNorm, Linear};
use cvhost_plugin_api::torch::Scope;
use tch::Tensor;

const NORM_EPSILON: f64 = 1e-5;

/// The inputs that all layers share.
pub struct Memory<'a> {
    /// `[N or 1, H · W, d]`.
    pub positions: &'a Tensor,
    /// `[N, 1, 1, H · W]` bool, true on the image; `None` if no image is padded.
    pub mask: Option<&'a Tensor>,
    pub train: bool,
}

pub struct Encoder {
    layers: Vec<EncoderLayer>,
    dropout: f64,
}

impl Encoder {
    pub fn new(scope: &Scope, config: &DetrConfig, depth: u32) -> Self {
        let layers = scope.sub("layers");
        let layer = |index: i64| EncoderLayer::new(&layers.sub(index).at_depth(depth + index as u32), config);
        Encoder {
            layers: (0..config.encoder.layers).map(layer).collect(),
            dropout: config.dropout,
        }
    }

    /// Features `[N, H · W, d]` to encoded features of the same shape.
    pub fn forward(&self, features: &Tensor, memory: &Memory<'_>) -> Tensor {
        let mut x = features.dropout(self.dropout, memory.train);
        for layer in &self.layers {
            x = layer.forward(&x, memory);
        }
        x
    }
}

struct EncoderLayer {
    self_attn: Attention,
    self_attn_norm: LayerNorm,
    ffn: FeedForward,
    final_norm: LayerNorm,
    dropout: f64,
}

impl EncoderLayer {
    fn new(scope: &Scope, config: &DetrConfig) -> Self {
        let norm = |name| LayerNorm::new(&scope.sub(name), config.d_model, NORM_EPSILON);
        EncoderLayer {
            self_attn: Attention::new(&scope.sub("self_attn"), config.encoder.heads, config),
            self_attn_norm: norm("self_attn_layer_norm"),
            ffn: FeedForward::new(scope, config.encoder.ffn_dim, config),
            final_norm: norm("final_layer_norm"),
            dropout: config.dropout,
        }
    }

    fn forward(&self, x: &Tensor, memory: &Memory<'_>) -> Tensor {
        let placed = x + memory.positions;
        let attended = self
            .self_attn
            .forward(&placed, &placed, x, memory.mask, memory.train);
        let x = self
            .self_attn_norm
            .forward(&(x + attended.dropout(self.dropout, memory.train)));
        self.final_norm
            .forward(&(&x + self.ffn.forward(&x, memory.train)))
    }
}

pub struct Decoder {
    layers: Vec<DecoderLayer>,
    norm: LayerNorm,
    norm_between_layers: bool,
}

impl Decoder {
    pub fn new(scope: &Scope, config: &DetrConfig, depth: u32) -> Self {
        let layers = scope.sub("layers");
        let layer = |index: i64| DecoderLayer::new(&layers.sub(index).at_depth(depth + index as u32), config);
        Decoder {
            layers: (0..config.decoder.layers).map(layer).collect(),
            norm: LayerNorm::new(
                &scope
                    .sub("layernorm")
                    .at_depth(depth + config.decoder.layers as u32),
                config.d_model,
                NORM_EPSILON,
            ),
            norm_between_layers: config.norm_between_layers,
        }
    }

    /// Object queries `[1, Q, d]` and the encoder's features `[N, H · W, d]` to each layer's normed
    /// states `[N, Q, d]`, the last layer last. Layers before the last one are omitted unless
    /// `every_layer`.
    pub fn forward(
        &self,
        queries: &Tensor,
        features: &Tensor,
        memory: &Memory<'_>,
        every_layer: bool,
    ) -> Vec<Tensor> {
        let images = features.size().first().copied().unwrap_or(1);
        let queries = queries.expand([images, -1, -1], false);
        // All layers share the keys; only the projections differ.
        let keys = features + memory.positions;
        let mut x = queries.zeros_like();
        let mut decoded = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, &queries, &keys, features, memory);
            let last = index + 1 == self.layers.len();
            if self.norm_between_layers {
                x = self.norm.forward(&x);
            }
            if last {
                decoded.push(self.norm.forward(&x));
            } else if every_layer {
                decoded.push(if self.norm_between_layers {
                    x.shallow_clone()
                } else {
                    self.norm.forward(&x)
                });
            }
        }
        decoded
    }
}

struct DecoderLayer {
    self_attn: Attention,
    self_attn_norm: LayerNorm,
    encoder_attn: Attention,
    encoder_attn_norm: LayerNorm,
    ffn: FeedForward,
    final_norm: LayerNorm,
    dropout: f64,
}

impl DecoderLayer {
    fn new(scope: &Scope, config: &DetrConfig) -> Self {
        let attention = |name| Attention::new(&scope.sub(name), config.decoder.heads, config);
        let norm = |name| LayerNorm::new(&scope.sub(name), config.d_model, NORM_EPSILON);
        DecoderLayer {
            self_attn: attention("self_attn"),
            self_attn_norm: norm("self_attn_layer_norm"),
            encoder_attn: attention("encoder_attn"),
            encoder_attn_norm: norm("encoder_attn_layer_norm"),
            ffn: FeedForward::new(scope, config.decoder.ffn_dim, config),
            final_norm: norm("final_layer_norm"),
            dropout: config.dropout,
        }
    }

    fn forward(
        &self,
        x: &Tensor,
        queries: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        memory: &Memory<'_>,
    ) -> Tensor {
        let placed = x + queries;
        let attended = self.self_attn.forward(&placed, &placed, x, None, memory.train);
        let x = self
            .self_attn_norm
            .forward(&(x + attended.dropout(self.dropout, memory.train)));
        let attended = self
            .encoder_attn
            .forward(&(&x + queries), keys, values, memory.mask, memory.train);
        let x = self
            .encoder_attn_norm
            .forward(&(&x + attended.dropout(self.dropout, memory.train)));
        self.final_norm
            .forward(&(&x + self.ffn.forward(&x, memory.train)))
    }
}

/// Multi-head attention (Vaswani et al. 2017).
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: i64,
    dropout: f64,
}

impl Attention {
    fn new(scope: &Scope, heads: i64, config: &DetrConfig) -> Self {
        let linear = |name| Linear::new(&scope.sub(name), config.d_model, config.d_model, config.init_std);
        Attention {
            q_proj: linear("q_proj"),
            k_proj: linear("k_proj"),
            v_proj: linear("v_proj"),
            out_proj: linear("out_proj"),
            heads,
            dropout: config.attention_dropout,
        }
    }

    /// `queries` `[N, Q, d]`, `keys` and `values` `[N, K, d]`, `mask` true where a key may be
    /// attended to.
    fn forward(
        &self,
        queries: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        mask: Option<&Tensor>,
        train: bool,
    ) -> Tensor {
        let attended = Tensor::scaled_dot_product_attention(
            &self.split(&self.q_proj.forward(queries)),
            &self.split(&self.k_proj.forward(keys)),
            &self.split(&self.v_proj.forward(values)),
            mask,
            if train { self.dropout } else { 0.0 },
            false,
            None,
            false,
        );
        self.out_proj.forward(&attended.transpose(1, 2).flatten(2, 3))
    }

    /// `[N, L, d]` to `[N, heads, L, d / heads]`.
    fn split(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        let (images, length) = (
            size.first().copied().unwrap_or(1),
            size.get(1).copied().unwrap_or(1),
        );
        x.reshape([images, length, self.heads, -1]).transpose(1, 2)
    }
}

/// Two linear layers with an activation between them.
struct FeedForward {
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
    activation_dropout: f64,
    dropout: f64,
}

impl FeedForward {
    fn new(scope: &Scope, width: i64, config: &DetrConfig) -> Self {
        FeedForward {
            fc1: Linear::new(&scope.sub("fc1"), config.d_model, width, config.init_std),
            fc2: Linear::new(&scope.sub("fc2"), width, config.d_model, config.init_std),
            activation: config.activation,
            activation_dropout: config.activation_dropout,
            dropout: config.dropout,
        }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let hidden = self
            .activation
            .apply(self.fc1.forward(x))
            .dropout(self.activation_dropout, train);
        self.fc2.forward(&hidden).dropout(self.dropout, train)
    }
}

//! The transformer encoder.

use crate::config::VitConfig;
use cvhost_layers::{Activation, LayerNorm, Linear};
use cvhost_plugin_api::torch::Scope;
use std::ops::Range;
use tch::Tensor;

/// A pre-norm transformer block: attention and feed-forward network, each preceded by a layer norm.
pub struct EncoderLayer {
    norm_before: LayerNorm,
    attention: SelfAttention,
    norm_after: LayerNorm,
    intermediate: Linear,
    output: Linear,
    activation: Activation,
    dropout: f64,
}

impl EncoderLayer {
    pub fn new(scope: &Scope, config: &VitConfig) -> Self {
        let (d, inner, std) = (
            config.hidden_size,
            config.intermediate_size,
            config.initializer_range,
        );
        let norm = |name| LayerNorm::new(&scope.sub(name), d, config.layer_norm_eps);
        EncoderLayer {
            norm_before: norm("layernorm_before"),
            attention: SelfAttention::new(&scope.sub("attention"), config),
            norm_after: norm("layernorm_after"),
            intermediate: Linear::new(&scope.sub("intermediate.dense"), d, inner, std),
            output: Linear::new(&scope.sub("output.dense"), inner, d, std),
            activation: config.activation,
            dropout: config.hidden_dropout,
        }
    }

    /// All encoder layers, named `layer.0`, `layer.1`, … in `scope`, with depths starting at 1.
    pub fn stack(scope: &Scope, config: &VitConfig) -> Vec<Self> {
        let layers = scope.sub("layer");
        (0..config.layers)
            .map(|i| EncoderLayer::new(&layers.sub(i).at_depth(i as u32 + 1), config))
            .collect()
    }

    /// Maps tokens `[N, T, d]` to tokens of the same shape.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let normed = self.norm_before.forward(x);
        let attended = self.attention.forward(&normed, &normed, train);
        self.feed_forward(x + attended, train)
    }

    /// Like [`EncoderLayer::forward`], but computes only the outputs of `tokens`, `[N, tokens, d]`;
    /// they still attend to all tokens. If only these outputs of a last layer are used, this saves
    /// nearly all of its work.
    pub fn forward_only(&self, x: &Tensor, tokens: Range<i64>, train: bool) -> Tensor {
        let only = |x: &Tensor| x.narrow(1, tokens.start, tokens.end - tokens.start);
        let normed = self.norm_before.forward(x);
        let attended = self.attention.forward(&only(&normed), &normed, train);
        self.feed_forward(only(x) + attended, train)
    }

    fn feed_forward(&self, x: Tensor, train: bool) -> Tensor {
        let inner = self.intermediate.forward(&self.norm_after.forward(&x));
        let inner = self.activation.apply(inner);
        x + self.output.forward(&inner).dropout(self.dropout, train)
    }
}

/// Multi-head attention from some tokens to all tokens (Vaswani et al. 2017).
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
    fn new(scope: &Scope, config: &VitConfig) -> Self {
        let (d, std) = (config.hidden_size, config.initializer_range);
        let part = |name: &str| {
            let scope = scope.sub("attention").sub(name);
            match config.qkv_bias {
                true => Linear::new(&scope, d, d, std),
                false => Linear::without_bias(&scope, d, d, std),
            }
        };
        SelfAttention {
            query: part("query"),
            key: part("key"),
            value: part("value"),
            output: Linear::new(&scope.sub("output.dense"), d, d, std),
            heads: config.heads,
            attention_dropout: config.attention_dropout,
            dropout: config.hidden_dropout,
        }
    }

    /// `queries` `[N, Q, d]` are the subset of `tokens` `[N, T, d]` whose outputs are computed;
    /// they attend to all tokens.
    fn forward(&self, queries: &Tensor, tokens: &Tensor, train: bool) -> Tensor {
        let split =
            |part: &Linear, x: &Tensor| part.forward(x).unflatten(-1, [self.heads, -1]).transpose(1, 2);
        let attended = Tensor::scaled_dot_product_attention::<Tensor>(
            &split(&self.query, queries),
            &split(&self.key, tokens),
            &split(&self.value, tokens),
            None,
            if train { self.attention_dropout } else { 0.0 },
            false,
            None,
            false,
        );
        self.output
            .forward(&attended.transpose(1, 2).flatten(2, 3))
            .dropout(self.dropout, train)
    }
}

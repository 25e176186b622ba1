//! The toy network: two convolutions, and queries that attend to their feature map.

use cvhost_detection::{Heads, Images, Network, Predictions};
use cvhost_layers::config_json::{dropout_override, probability, size};
use cvhost_layers::{LayerNorm, Linear};
use cvhost_plugin_api::data::Tags;
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::torch::{Init, Scope};
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

pub const STRIDE: i64 = 16;
const STD: f64 = 0.2;

pub struct ToyNetwork {
    /// Weights and biases.
    convolutions: [(Tensor, Tensor); 2],
    /// `[Q, d]`, learned.
    queries: Tensor,
    layers: Vec<(Linear, LayerNorm)>,
    heads: Heads,
    dropout: f64,
}

impl ToyNetwork {
    pub fn new(root: &Scope, json: &Value, config: &Value, classes: i64) -> Result<Self> {
        let d = size(json, "hidden_size", 16)?;
        let count = size(json, "num_queries", 5)?;
        let layers = size(json, "decoder_layers", 2)?;
        let dropout = match dropout_override(config)? {
            Some(dropout) => dropout,
            None => probability(json, "dropout", 0.0)?,
        };
        let backbone = root.sub("backbone").tagged(Tags::BACKBONE);
        let convolution = |index: i64, inputs: i64| {
            let scope = backbone.sub(index);
            let weight = scope.parameter("weight", &[d, inputs, 4, 4], Init::KaimingNormalFanOut);
            (weight, scope.no_decay("bias", &[d], Init::Constant(0.0)))
        };
        // The image's channels, and the coordinates.
        let convolutions = [convolution(0, 5), convolution(1, d)];
        let decoder = root.sub("decoder").at_depth(1);
        let layer = |index: i64| {
            let scope = decoder.sub(index);
            let linear = Linear::new(&scope.sub("linear"), d, d, STD);
            (linear, LayerNorm::new(&scope.sub("norm"), d, 1e-5))
        };
        Ok(ToyNetwork {
            convolutions,
            queries: decoder.parameter("queries", &[count, d], Init::Normal { std: 1.0 }),
            layers: (0..layers).map(layer).collect(),
            heads: Heads::linear(&root.at_depth(2), d, classes, STD),
            dropout,
        })
    }
}

impl Network for ToyNetwork {
    fn queries(&self) -> i64 {
        self.queries.size().first().copied().unwrap_or(0)
    }

    fn smallest_input(&self) -> i64 {
        STRIDE
    }

    fn layers(&self, images: &Images<'_>, every_layer: bool) -> Result<Vec<Tensor>> {
        let (n, _, height, width) = images.pixel_values.size4()?;
        let options = (Kind::Float, images.pixel_values.device());
        let axis = |length, shape: [i64; 4]| {
            let coordinates = Tensor::linspace(-1, 1, length, options).reshape(shape);
            coordinates.expand([n, 1, height, width], false)
        };
        let (x, y) = (axis(width, [1, 1, 1, width]), axis(height, [1, 1, height, 1]));
        let mut features = Tensor::cat(&[images.pixel_values, &x, &y], 1);
        for (weight, bias) in &self.convolutions {
            features = features
                .conv2d(weight, Some(bias), [4, 4], [0, 0], [1, 1], 1)
                .relu();
        }
        let features = features.flatten(2, 3).transpose(1, 2);
        let mut state = self.queries.unsqueeze(0).expand([n, -1, -1], false);
        let mut states = Vec::new();
        for (index, (linear, norm)) in self.layers.iter().enumerate() {
            let scores = state.matmul(&features.transpose(1, 2));
            let attended = scores.softmax(-1, Kind::Float).matmul(&features);
            let update = linear.forward(&attended).dropout(self.dropout, images.train);
            state = norm.forward(&(state + update));
            if every_layer || index + 1 == self.layers.len() {
                states.push(state.shallow_clone());
            }
        }
        Ok(states)
    }

    fn heads(&self, states: &Tensor) -> Predictions {
        self.heads.forward(states)
    }

    fn aliases(&self, name: &str) -> Vec<String> {
        let old = name.strip_prefix("backbone.");
        old.map(|rest| format!("body.{rest}")).into_iter().collect()
    }

    fn write_config(&self, json: &mut Map<String, Value>) {
        json.insert("dropout".into(), json!(self.dropout));
    }
}

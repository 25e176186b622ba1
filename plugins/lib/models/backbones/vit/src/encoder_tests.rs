use crate::{Defaults, EncoderLayer, VitConfig};
use cvhost_plugin_api::torch::ParameterSet;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// A layer with random weights, and tokens `[2, 7, 12]`.
fn layer_and_tokens() -> (ParameterSet, EncoderLayer, Tensor) {
    let json = json!({"hidden_size": 12, "intermediate_size": 20, "num_attention_heads": 3, "num_hidden_layers": 1,
        "image_size": 32, "patch_size": 16, "initializer_range": 0.4});
    let defaults = Defaults { image_size: [32, 32] };
    let config = VitConfig::new(&json, &Value::Null, defaults).unwrap();
    let parameters = ParameterSet::new();
    let layer = EncoderLayer::stack(&parameters.root(), &config).remove(0);
    let names: Vec<String> = parameters
        .list(|_| Vec::new())
        .iter()
        .map(|p| p.name.to_string())
        .collect();
    parameters
        .initialise(&names.iter().map(String::as_str).collect::<Vec<_>>())
        .unwrap();
    let tokens = (Tensor::arange(2 * 7 * 12, (Kind::Float, Device::Cpu)) * 0.7)
        .sin()
        .reshape([2, 7, 12]);
    (parameters, layer, tokens)
}

#[test]
fn forward_only_matches_forward_including_gradients() {
    let (parameters, layer, tokens) = layer_and_tokens();
    let gradients = |out: &Tensor| -> Vec<Tensor> {
        (out * out).sum(Kind::Float).backward();
        let list = parameters.list(|_| Vec::new());
        let of_parameters = list.iter().map(|p| p.tensor.tensor());
        of_parameters
            .map(|tensor| {
                let mut gradient = tensor.grad();
                let own = gradient.copy();
                let _ = gradient.zero_();
                own
            })
            .collect()
    };
    let off = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
    for wanted in [0..1, 4..7] {
        let only = layer.forward_only(&tokens, wanted.clone(), true);
        let among_all = layer
            .forward(&tokens, true)
            .narrow(1, wanted.start, wanted.end - wanted.start);
        assert_eq!(only.size(), [2, wanted.end - wanted.start, 12]);
        assert!(off(&only, &among_all) < 1e-5);
        let (ours, wanted) = (gradients(&only), gradients(&among_all));
        assert!(ours.iter().any(|g| g.abs().max().double_value(&[]) > 0.1));
        for (ours, wanted) in ours.iter().zip(&wanted) {
            assert!(off(ours, wanted) < 1e-3, "{ours:?} {wanted:?}");
        }
    }
}

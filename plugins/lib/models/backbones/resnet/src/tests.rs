use crate::{Aliases, NormKind, ResNet, ResNetConfig};
use cvhost_plugin_api::data::Tags;
use cvhost_plugin_api::torch::ParameterSet;
use serde_json::json;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor, no_grad};

fn network(kind: NormKind) -> (ParameterSet, ResNet) {
    network_of(kind, 8)
}

/// A network with `channels` output channels of the stem.
fn network_of(kind: NormKind, channels: i64) -> (ParameterSet, ResNet) {
    let json =
        json!({"embedding_size": channels, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"});
    let config = ResNetConfig::hugging_face(&json, "").unwrap();
    let parameters = ParameterSet::new();
    let net = ResNet::new(&parameters.root(), "", &config, kind, &mut Aliases::new());
    let names = tensors(&parameters);
    parameters
        .initialise(&names.keys().map(String::as_str).collect::<Vec<_>>())
        .unwrap();
    (parameters, net)
}

fn tensors(parameters: &ParameterSet) -> BTreeMap<String, Tensor> {
    parameters
        .list(|_| Vec::new())
        .iter()
        .map(|p| (p.name.to_string(), p.tensor.tensor()))
        .collect()
}

fn images(count: i64, side: i64) -> Tensor {
    (Tensor::arange(count * 3 * side * side, (Kind::Float, Device::Cpu)) * 0.7)
        .sin()
        .reshape([count, 3, side, side])
}

const NORM: &str = "embedder.embedder.normalization";

/// The running mean and the number of batches of a norm.
fn statistics(parameters: &ParameterSet) -> (Tensor, i64) {
    let all = tensors(parameters);
    (
        all[&format!("{NORM}.running_mean")].copy(),
        all[&format!("{NORM}.num_batches_tracked")].int64_value(&[]),
    )
}

#[test]
fn training_updates_statistics_and_evaluation_uses_them() {
    let (parameters, net) = network(NormKind::Trained);
    let x = images(2, 32);
    let fresh = net.forward(&x, false);
    let _ = net.forward(&x, true);
    let (mean, batches) = statistics(&parameters);
    assert_eq!(batches, 1);
    assert!(mean.abs().max().double_value(&[]) > 0.0);
    let learnt = net.forward(&x, false);
    assert_eq!(statistics(&parameters).1, 1, "evaluation was counted");
    assert!((fresh - learnt).abs().max().double_value(&[]) > 1e-4);
}

#[test]
fn a_norm_whose_weight_is_frozen_keeps_its_statistics() {
    let (parameters, net) = network(NormKind::Trained);
    for (name, tensor) in tensors(&parameters) {
        if name.contains("normalization.weight") {
            let _ = tensor.set_requires_grad(false);
        }
    }
    let x = images(2, 32);
    let evaluated = net.forward(&x, false);
    let trained = net.forward(&x, true);
    let (mean, batches) = statistics(&parameters);
    assert_eq!((batches, mean.abs().max().double_value(&[])), (0, 0.0));
    assert!((evaluated - trained).abs().max().double_value(&[]) < 1e-5);
}

#[test]
fn a_single_value_per_channel_does_not_produce_nan() {
    let (parameters, net) = network(NormKind::Trained);
    // 8 pixels become 1×1 in the last stage.
    let y = net.forward(&images(1, 8), true);
    assert_eq!(y.size(), [1, 16, 1, 1]);
    y.sum(Kind::Float).backward();
    for (name, tensor) in tensors(&parameters) {
        assert!(tensor.isfinite().all().int64_value(&[]) == 1, "{name}");
        let gradient = tensor.grad();
        assert!(
            !gradient.defined() || gradient.isfinite().all().int64_value(&[]) == 1,
            "{name}"
        );
    }
}

#[test]
fn frozen_norms_have_no_parameters_and_ignore_training_mode() {
    let (parameters, net) = network(NormKind::Frozen);
    for parameter in parameters.list(|_| Vec::new()) {
        let norm = parameter.name.contains("normalization");
        assert_eq!(parameter.tags.has(Tags::BUFFER), norm, "{}", parameter.name);
        assert!(!parameter.name.ends_with("num_batches_tracked"));
    }
    let x = images(2, 32);
    let off = no_grad(|| (net.forward(&x, false) - net.forward(&x, true)).abs().max());
    assert!(off.double_value(&[]) < 1e-5);
}

#[test]
fn every_stage_but_the_first_halves_the_resolution() {
    let side = |first: bool| {
        let json = json!({"embedding_size": 4, "hidden_sizes": [4, 4, 4, 4], "depths": [1, 1, 1, 1],
            "layer_type": "basic", "downsample_in_first_stage": first});
        let config = ResNetConfig::hugging_face(&json, "").unwrap();
        let parameters = ParameterSet::new();
        let net = ResNet::new(
            &parameters.root(),
            "",
            &config,
            NormKind::Trained,
            &mut Aliases::new(),
        );
        net.forward(&images(1, 128), false).size()[3]
    };
    assert_eq!((side(false), side(true)), (4, 2));
}

#[test]
fn the_stride_matches_the_feature_map_even_with_dilation() {
    let hugging_face = |extra: serde_json::Value| {
        let mut json = json!({"embedding_size": 8, "hidden_sizes": [8, 8, 8], "depths": [1, 1, 1], "layer_type": "basic"});
        json.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        ResNetConfig::hugging_face(&json, "").unwrap()
    };
    for (config, stride) in [
        (hugging_face(json!({})), 16),
        (hugging_face(json!({"downsample_in_first_stage": true})), 32),
        (hugging_face(json!({"out_indices": [2]})), 8),
        (ResNetConfig::timm("resnet18", &json!({}), 32, "").unwrap(), 32),
        (ResNetConfig::timm("resnet18", &json!({}), 16, "").unwrap(), 16),
        (
            ResNetConfig::timm("resnet18", &json!({"out_indices": [3]}), 32, "").unwrap(),
            16,
        ),
    ] {
        let parameters = ParameterSet::new();
        let net = ResNet::new(
            &parameters.root(),
            "",
            &config,
            NormKind::Trained,
            &mut Aliases::new(),
        );
        let map = net.forward(&images(1, 128), false).size();
        assert_eq!((config.stride(), map[3]), (stride, 128 / stride), "{config:?}");
    }
}

/// With many channels, the stem uses another memory format and oneDNN; in float64, libtorch's own
/// kernels compute it.
#[test]
fn a_stem_with_many_channels_matches_float64() {
    let (parameters, net) = network_of(NormKind::Trained, 16);
    let (exact_parameters, exact) = network_of(NormKind::Trained, 16);
    let (weights, exact_weights) = (tensors(&parameters), tensors(&exact_parameters));
    for (name, weight) in &exact_weights {
        let values = weights[name].detach().to_kind(Kind::Double);
        no_grad(|| weight.shallow_clone().set_data(&values));
    }
    let x = images(2, 37);
    let (found, expected) = (
        net.forward(&x, true),
        exact.forward(&x.to_kind(Kind::Double), true),
    );
    assert!(found.is_contiguous());
    let off = |a: &Tensor, b: &Tensor| (a.to_kind(Kind::Double) - b).abs().max().double_value(&[]);
    assert!(off(&found, &expected) < 1e-4, "{}", off(&found, &expected));
    found.square().sum(Kind::Float).backward();
    expected.square().sum(Kind::Double).backward();
    let name = "embedder.embedder.convolution.weight";
    let (gradient, expected) = (weights[name].grad(), exact_weights[name].grad());
    let scale = expected.abs().max().double_value(&[]);
    assert!(scale > 0.0 && off(&gradient, &expected) < 1e-4 * scale);
}

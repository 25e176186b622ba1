use crate::config_json::{
    dropout_override, height_and_width, probability, require_three_channels, saved, size, whole,
};
use crate::{Activation, LayerNorm, Linear, Mlp};
use cvhost_plugin_api::data::{LabelSpec, Tags};
use cvhost_plugin_api::torch::ParameterSet;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

#[test]
fn errors_name_the_key_and_the_expected_range() {
    let json = json!({"a": 0, "b": 70000, "c": 1.0, "d": "x", "e": [3], "num_channels": 1});
    let errors = [
        (
            size(&json, "a", 1).unwrap_err(),
            "`a`: expected 1 to 65536, got 0",
        ),
        (
            size(&json, "b", 1).unwrap_err(),
            "`b`: expected 1 to 65536, got 70000",
        ),
        (
            probability(&json, "c", 0.0).unwrap_err(),
            "`c`: expected 0 to below 1, got 1",
        ),
        (whole(&json, "d", 1).unwrap_err(), "`d`: invalid type"),
        (height_and_width(&json, "e", [1, 1]).unwrap_err(), "`e`:"),
        (
            height_and_width(&json, "a", [1, 1]).unwrap_err(),
            "`a`: expected 1 to 65536, got 0",
        ),
        (require_three_channels(&json).unwrap_err(), "num_channels 1"),
    ];
    for (error, part) in errors {
        assert!(error.message.contains(part), "{error}");
    }
    assert_eq!(whole(&json, "a", 1).unwrap(), 0);
    assert_eq!(height_and_width(&json!({"s": 7}), "s", [1, 2]).unwrap(), [7, 7]);
    assert_eq!(
        height_and_width(&json!({"s": null}), "s", [1, 2]).unwrap(),
        [1, 2]
    );
}

#[test]
fn dropout_is_overridden_only_if_set_by_the_user() {
    let read = |value: Value| dropout_override(&json!({"model": {"dropout": value}}));
    assert_eq!(read(json!(0.25)).unwrap(), Some(0.25));
    assert_eq!(read(Value::Null).unwrap(), None);
    assert_eq!(dropout_override(&Value::Null).unwrap(), None);
    assert_eq!(read(json!(1)).unwrap_err().key, "model.dropout");
}

#[test]
fn activations_match_their_names() {
    let x = || Tensor::from_slice(&[-1.0f64, 0.5]);
    for (name, expected) in [
        ("relu", [0.0, 0.5]),
        ("gelu", [-0.158_655_254, 0.345_731_231]),
        ("gelu_new", [-0.158_808_009, 0.345_714_024]),
        ("silu", [-0.268_941_421, 0.311_229_666]),
    ] {
        let activation = Activation::read(&json!({"act": name}), "act", Activation::Relu).unwrap();
        let off = (activation.apply(x()) - Tensor::from_slice(&expected))
            .abs()
            .max();
        assert!(off.double_value(&[]) < 1e-6, "{name}");
    }
    assert_eq!(
        Activation::read(&json!({}), "act", Activation::Silu).unwrap(),
        Activation::Silu
    );
    assert!(Activation::read(&json!({"act": "mish"}), "act", Activation::Relu).is_err());
}

#[test]
fn the_saved_config_has_the_classes_and_float32_weights() {
    let spec = LabelSpec {
        names: vec!["a".into(), "b".into()].into(),
        ..Default::default()
    };
    let original = json!({"torch_dtype": "bfloat16", "num_labels": 7, "kept": {"x": 1}});
    assert_eq!(
        Value::Object(saved(&original, "family", "FamilyForTask", &spec)),
        json!({"torch_dtype": "float32", "kept": {"x": 1}, "id2label": {"0": "a", "1": "b"},
            "label2id": {"a": 0, "b": 1}, "architectures": ["FamilyForTask"], "model_type": "family"})
    );
}

#[test]
fn layers_name_tag_and_shape_their_tensors() {
    let set = ParameterSet::new();
    let root = set.root();
    let linear = Linear::without_bias(&root.sub("plain"), 3, 2, 0.1);
    let head = Mlp::new(&root.sub("head"), 3, 5, 0.1, Tags::CLASS_HEAD);
    let norm = LayerNorm::new(&root.sub("norm"), 3, 1e-5);
    let list = set.list(|_| Vec::new());
    let about: Vec<(String, Vec<i64>, bool, bool)> = list
        .iter()
        .map(|p| {
            let (no_decay, head) = (p.tags.has(Tags::NO_DECAY), p.tags.has(Tags::CLASS_HEAD));
            (p.name.to_string(), p.tensor.tensor().size(), no_decay, head)
        })
        .collect();
    assert_eq!(about[0], ("plain.weight".into(), vec![2, 3], false, false));
    assert_eq!(about[5], ("head.layers.2.weight".into(), vec![5, 3], false, true));
    assert_eq!(about[6], ("head.layers.2.bias".into(), vec![5], true, true));
    assert_eq!(about[7], ("norm.weight".into(), vec![3], true, false));
    let names: Vec<&str> = about.iter().map(|a| a.0.as_str()).collect();
    set.initialise(&names).unwrap();
    let x = Tensor::ones([4, 3], (Kind::Float, Device::Cpu));
    assert_eq!(linear.forward(&x).size(), [4, 2]);
    assert_eq!(head.forward(&norm.forward(&x)).size(), [4, 5]);
}

//! Properties of DETR with arbitrary weights. Agreement with the reference implementation is tested
//! through the built plugin, in the workspace's `tests`.

use crate::Detr;
use crate::config::DetrConfig;
use cvhost_detection::forms::{BOXES, PIXEL_MASK, PIXEL_VALUES};
use cvhost_detection::testing::{self, checkpoint, context, difference, initialise, output, seeded, spec};
use cvhost_detection::{Detector, DetectorInput};
use cvhost_plugin_api::data::{Batch, LabelSpec, Mode, Tags};
use cvhost_plugin_api::error::ErrorKind;
use cvhost_plugin_api::sdk::{FinishArgs, Input, Model};
use cvhost_plugin_api::testing::schema_is_current;
use cvhost_resnet::{Naming, NormKind, ResNet};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tch::{Device, Kind, Tensor, no_grad};

type DetrDetector = Detector<crate::network::DetrNetwork>;

/// Widths and heights of input images: multiples of the stride, so that sampling the mask is
/// unambiguous.
const SIZES: [(i64, i64); 2] = [(128, 96), (64, 128)];

fn tiny() -> Value {
    json!({
        "model_type": "detr", "num_queries": 7, "d_model": 16, "encoder_layers": 1, "decoder_layers": 2,
        "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
        "dropout": 0.0, "init_std": 0.2,
        "backbone_config": {
            "model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 2, 1, 1],
            "layer_type": "bottleneck", "out_features": ["stage4"],
        },
    })
}

/// [`tiny`] with this `backbone_config`.
fn resnet18(backbone: Value) -> Value {
    let mut json = tiny();
    json["backbone_config"] = backbone;
    json
}

fn timm18() -> Value {
    resnet18(json!({"model_type": "timm_backbone", "backbone": "resnet18", "out_indices": [1, 2, 3, 4]}))
}

fn build(json: &Value, config: &Value, spec: &LabelSpec) -> DetrDetector {
    testing::detector::<Detr>(json, config, spec)
}

/// With the same random weights each time.
fn initialised(json: &Value, config: &Value) -> DetrDetector {
    let mut model = build(json, config, &spec(3));
    initialise(&mut model);
    model
}

/// Images of noise, padded to one batch, with the `boxes` of each.
fn batch(sizes: &[(i64, i64)], boxes: &[&[[f32; 4]]]) -> Batch {
    let noise = |&(w, h): &(i64, i64)| {
        // The noise depends on the size alone.
        let _guard = seeded(w * 1000 + h);
        Tensor::randn([3, h, w], (Kind::Float, Device::Cpu))
    };
    let images: Vec<Tensor> = sizes.iter().map(noise).collect();
    let mut labels = (0..3).cycle();
    let mut labelled = |boxes: &&[[f32; 4]]| boxes.iter().copied().zip(&mut labels).collect();
    let targets: Vec<_> = boxes.iter().map(&mut labelled).collect();
    testing::batch(&images, &targets)
}

const ONE: &[[f32; 4]] = &[[0.5, 0.5, 0.3, 0.4]];
const TWO: &[[f32; 4]] = &[[0.3, 0.6, 0.2, 0.2], [0.7, 0.2, 0.1, 0.3]];

#[test]
fn an_image_gives_the_same_boxes_alone_and_padded_in_a_batch() {
    let mut model = initialised(&tiny(), &Value::Null);
    let mut boxes = |batch: &Batch| {
        let out = model.forward(batch, &context(Mode::PREDICT)).unwrap();
        let outputs: Vec<_> = out.outputs.into();
        model
            .finish(&FinishArgs::new(&outputs, &batch.metas, json!({})))
            .unwrap()
    };
    let together = boxes(&batch(&SIZES, &[ONE, TWO]));
    for (index, size) in SIZES.iter().enumerate() {
        let alone = boxes(&batch(&[*size], &[ONE]));
        let alone = alone[0].require(BOXES).unwrap().values::<f32>().unwrap().to_vec();
        let padded = together[index].require(BOXES).unwrap().values::<f32>().unwrap();
        let worst = alone
            .iter()
            .zip(padded)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(worst < 1.0, "image {index}: {worst} px");
        assert_ne!(alone[..4], alone[4..8], "all queries predict the same box");
    }
}

#[test]
fn the_mask_hides_the_padding() {
    let mut model = initialised(&tiny(), &Value::Null);
    let clean = batch(&SIZES, &[ONE, TWO]);
    let dirty = batch(&SIZES, &[ONE, TWO]);
    // Far enough from the image to be outside its features' receptive field.
    let _ = dirty
        .tensor(PIXEL_MASK)
        .unwrap()
        .get(1)
        .narrow(1, 32, 32)
        .fill_(0);
    let _ = clean
        .tensor(PIXEL_MASK)
        .unwrap()
        .get(1)
        .narrow(1, 32, 32)
        .fill_(0);
    let before = model.forward(&clean, &context(Mode::TRAIN)).unwrap();
    let _ = dirty
        .tensor(PIXEL_VALUES)
        .unwrap()
        .get(1)
        .narrow(2, 120, 8)
        .fill_(50.0);
    let after = model.forward(&dirty, &context(Mode::TRAIN)).unwrap();
    let _ = dirty.tensor(PIXEL_MASK).unwrap().fill_(1);
    let unmasked = model.forward(&dirty, &context(Mode::TRAIN)).unwrap();
    let logits = output(&before, "logits");
    let hidden = difference(&logits, &output(&after, "logits"));
    let seen = difference(&logits, &output(&unmasked, "logits"));
    assert!(hidden < seen, "hidden {hidden}, seen {seen}");
}

#[test]
fn images_without_objects_give_a_finite_loss_and_gradients() {
    for boxes in [[&[] as &[[f32; 4]], &[]], [ONE, &[]], [&[], TWO]] {
        let mut model = initialised(&tiny(), &json!({"model": {"aux_loss_weight": 1.0}}));
        let batch = batch(&SIZES, &boxes);
        let out = model.forward(&batch, &context(Mode::TRAIN)).unwrap();
        let loss = out.loss.into_option().unwrap().tensor();
        assert!(loss.double_value(&[]).is_finite());
        loss.backward();
        for parameter in model.parameters().unwrap() {
            let gradient = parameter.tensor.tensor().grad();
            if gradient.defined() {
                assert!(
                    gradient.isfinite().all().int64_value(&[]) == 1,
                    "{}",
                    parameter.name
                );
            }
        }
    }
}

#[test]
fn both_backbone_namings_are_the_same_network() {
    let hugging_face = json!({
        "model_type": "resnet", "embedding_size": 64, "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2],
        "layer_type": "basic", "out_features": ["stage4"],
    });
    let mut timm = initialised(&timm18(), &Value::Null);
    let mut other = build(&resnet18(hugging_face), &Value::Null, &spec(3));

    // Like the host's loader: by name, then by alias.
    let file: BTreeMap<String, Tensor> = timm
        .parameters()
        .unwrap()
        .iter()
        .map(|p| (p.name.to_string(), p.tensor.tensor()))
        .collect();
    for parameter in other.parameters().unwrap() {
        let names = std::iter::once(parameter.name.to_string())
            .chain(parameter.aliases.iter().map(|a| a.to_string()));
        let found = names
            .filter_map(|n| file.get(&n))
            .next()
            .unwrap_or_else(|| panic!("{}", parameter.name));
        no_grad(|| parameter.tensor.tensor().copy_(found));
    }
    let batch = batch(&SIZES, &[ONE, TWO]);
    let a = timm.forward(&batch, &context(Mode::PREDICT)).unwrap();
    let b = other.forward(&batch, &context(Mode::PREDICT)).unwrap();
    assert!(difference(&output(&a, "logits"), &output(&b, "logits")) == 0.0);

    let names = |model: &DetrDetector| {
        model
            .parameters()
            .unwrap()
            .iter()
            .map(|p| p.name.to_string())
            .collect::<BTreeSet<_>>()
    };
    let prefix = "model.backbone.conv_encoder.model.";
    for tail in [
        "conv1.weight",
        "bn1.running_var",
        "layer1.1.conv2.weight",
        "layer2.0.downsample.1.bias",
    ] {
        assert!(names(&timm).contains(&format!("{prefix}{tail}")), "{tail}");
    }
    for tail in [
        "embedder.embedder.convolution.weight",
        "embedder.embedder.normalization.running_var",
        "encoder.stages.0.layers.1.layer.1.convolution.weight",
        "encoder.stages.1.layers.0.shortcut.normalization.bias",
    ] {
        assert!(names(&other).contains(&format!("{prefix}{tail}")), "{tail}");
    }
}

#[test]
fn dilation_doubles_the_last_feature_map_with_the_same_weights() {
    let old_layout = |dilation: bool| {
        let mut json = tiny();
        json["backbone_config"] = Value::Null;
        json["backbone"] = json!("resnet50");
        json["use_timm_backbone"] = json!(true);
        json["dilation"] = json!(dilation);
        json
    };
    let read = |json: &Value| DetrConfig::new(json, &Value::Null).unwrap().backbone;
    let (plain, dilated) = (read(&old_layout(false)), read(&old_layout(true)));
    assert_eq!((plain.naming, plain.output_stride), (Naming::Timm, 32));
    assert_eq!(dilated.output_stride, 16);

    let parameters = cvhost_plugin_api::torch::ParameterSet::new();
    let map = |config| {
        let root = parameters.root();
        let net = ResNet::new(&root, "", config, NormKind::Frozen, &mut Default::default());
        net.forward(&Tensor::zeros([1, 3, 96, 130], (Kind::Float, Device::Cpu)), false)
            .size()
    };
    assert_eq!(map(&plain), [1, 2048, 3, 5]);
    assert_eq!(map(&dilated), [1, 2048, 6, 9]);
}

#[test]
fn parameters_are_tagged_and_the_frozen_norms_are_buffers() {
    let model = build(&tiny(), &Value::Null, &spec(3));
    for parameter in model.parameters().unwrap() {
        let name = parameter.name.as_str();
        let frozen = name.contains(".normalization.");
        assert_eq!(parameter.tags.has(Tags::BUFFER), frozen, "{name}");
        assert_eq!(parameter.tensor.tensor().requires_grad(), !frozen, "{name}");
        assert_eq!(
            parameter.tags.has(Tags::BACKBONE),
            name.contains("backbone"),
            "{name}"
        );
        assert_eq!(
            parameter.tags.has(Tags::CLASS_HEAD),
            name.starts_with("class_labels_classifier"),
            "{name}"
        );
        if !frozen {
            let plain = name.ends_with("bias") || name.contains("norm.");
            assert_eq!(parameter.tags.has(Tags::NO_DECAY), plain, "{name}");
        }
    }
}

#[test]
fn dropout_acts_in_training_only_and_the_configuration_overrides_it() {
    let mut json = tiny();
    json["dropout"] = json!(0.3);
    let mut model = initialised(&json, &json!({"model": {"dropout": 0.0}}));
    // Images of equal size, so that evaluation removes no padding.
    let batch = batch(&SIZES[..1], &[ONE]);
    let logits =
        |model: &mut DetrDetector, mode| output(&model.forward(&batch, &context(mode)).unwrap(), "logits");
    let (train, eval) = (logits(&mut model, Mode::TRAIN), logits(&mut model, Mode::EVAL));
    assert!(difference(&train, &eval) < 1e-6);
    assert_eq!(model.config_json().unwrap()["dropout"], json!(0.0));

    let mut model = initialised(&json, &Value::Null);
    let (train, eval) = (logits(&mut model, Mode::TRAIN), logits(&mut model, Mode::EVAL));
    assert!(difference(&train, &eval) > 1e-3);
}

#[test]
fn auxiliary_losses_add_the_earlier_layers_with_their_weight() {
    let parts = |json: &Value, config: Value| {
        let mut model = initialised(json, &config);
        let out = model
            .forward(&batch(&SIZES, &[ONE, TWO]), &context(Mode::TRAIN))
            .unwrap();
        let value = |t: &Tensor| t.double_value(&[]);
        let parts: BTreeMap<String, f64> = out
            .parts
            .iter()
            .map(|p| (p.name.to_string(), value(&p.tensor.tensor())))
            .collect();
        (value(&out.loss.into_option().unwrap().tensor()), parts)
    };
    let layer = |p: &BTreeMap<String, f64>, s: &str| {
        p[&format!("loss_ce{s}")] + 5.0 * p[&format!("loss_bbox{s}")] + 2.0 * p[&format!("loss_giou{s}")]
    };
    let mut trained_with = tiny();
    trained_with["auxiliary_loss"] = json!(true);

    let (loss, off) = parts(&tiny(), Value::Null);
    assert!((loss - layer(&off, "")).abs() < 1e-4 && !off.contains_key("loss_ce_0"));
    let (loss, on) = parts(&tiny(), json!({"model": {"aux_loss_weight": 0.5}}));
    assert!((loss - layer(&on, "") - 0.5 * layer(&on, "_0")).abs() < 1e-4);
    assert!(on.contains_key("cardinality_error_0"));
    // The weight doesn't change the network's outputs.
    assert!((layer(&off, "") - layer(&on, "")).abs() < 1e-5);
    let (loss, own) = parts(&trained_with, Value::Null);
    assert!((loss - layer(&own, "") - layer(&own, "_0")).abs() < 1e-4);
    let (loss, zero) = parts(&trained_with, json!({"model": {"aux_loss_weight": 0}}));
    assert!((loss - layer(&zero, "")).abs() < 1e-4 && !zero.contains_key("loss_ce_0"));
}

#[test]
fn the_saved_config_has_the_data_sets_classes_and_keeps_other_keys() {
    let mut json = tiny();
    json["id2label"] = json!({"0": "old"});
    json["something_new"] = json!({"a": 1});
    let saved = build(&json, &Value::Null, &spec(2)).config_json().unwrap();
    assert_eq!(saved["id2label"], json!({"0": "class 0", "1": "class 1"}));
    assert_eq!(saved["label2id"], json!({"class 0": 0, "class 1": 1}));
    assert_eq!(saved["something_new"], json!({"a": 1}));
    assert_eq!(saved["backbone_config"], json["backbone_config"]);

    let mut dilated = timm18();
    dilated["dilation"] = json!(true);
    let saved = build(&dilated, &Value::Null, &spec(2)).config_json().unwrap();
    assert_eq!(saved["backbone_config"]["output_stride"], json!(16));
}

#[test]
fn errors_name_the_key() {
    let broken = |key: &str, value: Value| {
        let mut json = tiny();
        *json.pointer_mut(key).unwrap_or(&mut Value::Null) = value.clone();
        if json.pointer(key).is_none() {
            json[&key[1..]] = value;
        }
        Detector::new::<Detr>(&checkpoint(&json), &Value::Null, &spec(2))
            .err()
            .unwrap()
            .to_string()
    };
    for (key, value) in [
        ("/d_model", json!("large")),
        ("/d_model", json!(18)),
        ("/num_queries", json!(0)),
        ("/encoder_attention_heads", json!(3)),
        ("/decoder_layers", json!(0)),
        ("/dropout", json!(1.5)),
        ("/activation_function", json!("mish")),
        ("/position_embedding_type", json!("learned")),
        ("/dilation", json!(true)),
        ("/bbox_cost", json!(-1)),
        ("/backbone_config/depths", json!([1, 1])),
        ("/backbone_config/hidden_sizes", json!([8, -16, 24, 32])),
        ("/backbone_config/out_features", json!(["stage9"])),
        ("/backbone_config/layer_type", json!("mobile")),
        ("/backbone_config/model_type", json!("swin")),
    ] {
        let name = key
            .rsplit('/')
            .next()
            .unwrap()
            .replace("hidden_sizes", "backbone_config")
            .replace("depths", "backbone_config");
        let message = broken(key, value);
        assert!(message.contains(&name), "{key}: {message}");
    }
    let config = json!({"model": {"dropout": 2}});
    let error = Detector::new::<Detr>(&checkpoint(&tiny()), &config, &spec(2))
        .err()
        .unwrap();
    assert_eq!(
        (error.kind, error.key.as_str()),
        (ErrorKind::CONFIG, "model.dropout")
    );
}

#[test]
fn an_otherwise_empty_config_is_detr_resnet_50_with_530_tensors() {
    let model = build(&json!({"model_type": "detr"}), &Value::Null, &spec(91));
    let parameters = model.parameters().unwrap();
    assert_eq!(parameters.len(), 530);
    let shape = |name: &str| {
        let found = parameters.iter().find(|p| p.name == name);
        found.unwrap_or_else(|| panic!("{name}")).tensor.tensor().size()
    };
    assert_eq!(shape("class_labels_classifier.weight"), [92, 256]);
    assert_eq!(shape("bbox_predictor.layers.2.bias"), [4]);
    assert_eq!(shape("model.query_position_embeddings.weight"), [100, 256]);
    assert_eq!(shape("model.input_projection.weight"), [256, 2048, 1, 1]);
    assert_eq!(shape("model.encoder.layers.5.fc1.weight"), [2048, 256]);
    assert_eq!(
        shape("model.decoder.layers.5.encoder_attn.out_proj.weight"),
        [256, 256]
    );
    assert_eq!(shape("model.decoder.layernorm.bias"), [256]);
    assert_eq!(
        shape("model.backbone.conv_encoder.model.layer4.0.downsample.0.weight"),
        [2048, 1024, 1, 1]
    );
}

#[test]
fn the_input_reports_the_backbones_stride() {
    for (config, stride) in [
        (json!({"model_type": "detr"}), 32),
        (json!({"model_type": "detr", "dilation": true}), 16),
        (json!({"model_type": "detr", "backbone": "not there"}), 0),
    ] {
        let input = DetectorInput::new::<Detr>(&checkpoint(&config), &json!({})).unwrap();
        assert_eq!(input.stride(), stride, "{config}");
        assert_eq!(input.collate()[0].mask, PIXEL_MASK);
    }
}

#[test]
fn the_schema_file_is_the_detectors_schema() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.schema.json");
    let dropout = "Dropout after attention and feed-forward blocks in training. By default the \
                   checkpoint's `dropout`.";
    schema_is_current(&file, &cvhost_detection::schema(dropout));
}

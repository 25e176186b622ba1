//! Expected values are from transformers with the same weights and images, with
//! `interpolate_pos_encoding` for other sizes.

use crate::VitAdapter;
use crate::model::VitClassifier;
use cvhost_classification::Classifier;
use cvhost_classification::testing::{batch, close, context, fill_with_waves, logits, spec, waves};
use cvhost_plugin_api::data::{Mode, Tags};
use cvhost_plugin_api::sdk::{Adapter, AdapterArgs, Checkpoint, Model, ShapeArgs};
use cvhost_plugin_api::testing::schema_is_current;
use serde_json::{Value, json};
use std::path::Path;
use tch::no_grad;

fn tiny(more: Value) -> Value {
    let mut json = json!({"model_type": "vit", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 24, "image_size": 32, "patch_size": 8});
    for (key, value) in more.as_object().unwrap() {
        json[key] = value.clone();
    }
    json
}

fn distilled() -> Value {
    tiny(json!({"model_type": "deit", "architectures": ["DeiTForImageClassificationWithTeacher"]}))
}

fn checkpoint(json: Value) -> Checkpoint {
    Checkpoint {
        config: json,
        preprocessor: Value::Null,
        ..Checkpoint::default()
    }
}

fn model(json: Value, config: Value) -> Classifier<VitClassifier> {
    let checkpoint = checkpoint(json);
    let build = |root: &_, classes| VitClassifier::new(root, &checkpoint.config, &config, classes);
    let model = Classifier::new(&checkpoint, &config, &spec(3, ""), build).unwrap();
    fill_with_waves(&model);
    model
}

#[test]
#[rustfmt::skip]
fn each_family_matches_the_reference_at_all_sizes() {
    for (json, [height, width], expected) in [
        (tiny(json!({})), [32, 32], [0.201721, -0.051893, 0.378454, 0.18994, -0.010728, 0.308329]),
        (tiny(json!({})), [24, 48], [0.107953, 0.014192, 0.340733, 0.124664, -0.002223, 0.356683]),
        (
            tiny(json!({"qkv_bias": false, "hidden_act": "gelu_new"})),
            [32, 32],
            [-0.08938, 0.303115, -0.0368, -0.127974, 0.3597, -0.110794],
        ),
        (
            tiny(json!({"model_type": "deit"})),
            [32, 32],
            [-0.913237, 1.242905, -1.082832, -0.928459, 1.264624, -1.110824],
        ),
        (
            tiny(json!({"model_type": "deit"})),
            [24, 48],
            [-0.94794, 1.294974, -1.151731, -0.945862, 1.292661, -1.149207],
        ),
        (distilled(), [32, 32], [0.426029, 0.638801, -0.252729, 0.473031, 0.679854, -0.330634]),
    ] {
        let mut model = model(json.clone(), Value::Null);
        let batch = batch(waves(&[2, 3, height, width], 0.37), None);
        let output = no_grad(|| model.forward(&batch, &context(Mode::PREDICT))).unwrap();
        assert!(close(&logits(&output), &expected), "{json} at {height}x{width}: {:?}", logits(&output));
        assert!(output.loss.is_none());
    }
}

#[test]
fn an_input_smaller_than_a_patch_is_an_error_with_help() {
    let mut model = model(tiny(json!({})), Value::Null);
    let batch = batch(waves(&[1, 3, 32, 7], 0.37), None);
    let error = model.forward(&batch, &context(Mode::PREDICT)).err().unwrap();
    assert!(
        error
            .message
            .contains("7x32 pixels is smaller than a patch of 8x8"),
        "{error}"
    );
    assert!(error.help.contains("data.image_size"), "{error}");
}

#[test]
fn dropout_can_be_set_by_the_user_and_is_saved() {
    let json = tiny(json!({"hidden_dropout_prob": 0.3}));
    let saved = |config| model(json.clone(), config).config_json().unwrap()["hidden_dropout_prob"].clone();
    assert_eq!(saved(Value::Null), json!(0.3));
    assert_eq!(saved(json!({"model": {"dropout": 0.1}})), json!(0.1));
}

#[test]
fn parameters_have_tags_depths_and_aliases() {
    for (json, prefix, heads) in [
        (tiny(json!({})), "vit.", 1),
        (tiny(json!({"model_type": "deit"})), "deit.", 1),
        (distilled(), "deit.", 2),
    ] {
        let model = model(json, Value::Null);
        let parameters = model.parameters().unwrap();
        let head_parameters = parameters.iter().filter(|p| p.tags.has(Tags::CLASS_HEAD));
        assert_eq!(head_parameters.count(), 2 * heads);
        for parameter in parameters {
            let name = parameter.name.as_str();
            let head = !name.starts_with(prefix);
            assert_eq!(parameter.tags.has(Tags::CLASS_HEAD), head, "{name}");
            assert_eq!(parameter.tags.has(Tags::BACKBONE), !head, "{name}");
            let no_decay = name.contains("layernorm") || name.ends_with("bias");
            assert_eq!(parameter.tags.has(Tags::NO_DECAY), no_decay, "{name}");
            let depth = match name {
                _ if head => 3,
                _ if name.contains("embeddings") => 0,
                _ if name.contains("layer.0.") => 1,
                _ => 2,
            };
            assert_eq!(parameter.depth, depth, "{name}");
            let bare: Vec<&str> = parameter.aliases.iter().map(|a| a.as_str()).collect();
            assert_eq!(bare, name.strip_prefix(prefix).into_iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn without_a_processor_file_the_familys_defaults_apply() {
    let dims = |json, config: Value| {
        let input = VitAdapter
            .input(&AdapterArgs::new(&checkpoint(json), &config, &spec(3, "")))
            .unwrap();
        assert_eq!(input.stride(), 8);
        (
            input
                .shape(&ShapeArgs::new(100, 75, false))
                .unwrap()
                .dims
                .to_vec(),
            input.config_json().unwrap(),
        )
    };
    let (own, _) = dims(tiny(json!({"image_size": [48, 32]})), json!({}));
    assert_eq!(own, [3, 48, 32]);
    let (asked, saved) = dims(tiny(json!({})), json!({"data": {"image_size": [40, 64]}}));
    assert_eq!(
        (asked, &saved["size"]),
        (vec![3, 40, 64], &json!({"height": 40, "width": 64}))
    );
    let (square, _) = dims(tiny(json!({})), json!({"data": {"image_size": 40}}));
    assert_eq!(square, [3, 40, 40]);
    let (cropped, saved) = dims(tiny(json!({"model_type": "deit"})), json!({}));
    assert_eq!(
        (cropped, &saved["size"]),
        (vec![3, 224, 224], &json!({"height": 256, "width": 256}))
    );
}

#[test]
fn the_saved_config_keeps_family_and_architecture() {
    for (json, model_type, architecture) in [
        (
            tiny(json!({"architectures": ["ViTModel"]})),
            "vit",
            "ViTForImageClassification",
        ),
        (
            tiny(json!({"model_type": "deit"})),
            "deit",
            "DeiTForImageClassification",
        ),
        (distilled(), "deit", "DeiTForImageClassificationWithTeacher"),
    ] {
        let saved = model(json, Value::Null).config_json().unwrap();
        assert_eq!(saved["model_type"], model_type);
        assert_eq!(saved["architectures"], json!([architecture]));
        assert_eq!(
            saved["label2id"],
            json!({"class 0": 0, "class 1": 1, "class 2": 2})
        );
        assert_eq!(saved["image_size"], json!(32));
    }
}

#[test]
fn an_unknown_activation_is_named() {
    let checkpoint = checkpoint(tiny(json!({"hidden_act": "mish"})));
    let error = VitAdapter
        .model(&AdapterArgs::new(&checkpoint, &Value::Null, &spec(3, "")))
        .err()
        .unwrap();
    assert!(
        error.message.contains("hidden_act \"mish\": expected gelu"),
        "{error}"
    );
}

#[test]
fn the_schema_file_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.schema.json");
    let dropout = "Dropout after the embeddings and after attention and feed-forward blocks in \
                   training. By default the checkpoint's `hidden_dropout_prob`.";
    schema_is_current(&file, &cvhost_classification::schema(dropout));
}

//! Expected values are from transformers' ResNetForImageClassification with the same weights and
//! images.

use crate::ResNetAdapter;
use crate::model::ResNetClassifier;
use cvhost_classification::Classifier;
use cvhost_classification::testing::{batch, close, context, fill_with_waves, logits, spec, waves};
use cvhost_plugin_api::data::{LabelSpec, Mode, Tags};
use cvhost_plugin_api::sdk::{Adapter, AdapterArgs, Checkpoint, Model};
use cvhost_plugin_api::testing::schema_is_current;
use serde_json::{Value, json};
use std::path::Path;
use tch::{Kind, Tensor, no_grad};

fn tiny(more: Value) -> Value {
    let mut json = json!({"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16, 24], "depths": [1, 2, 1]});
    for (key, value) in more.as_object().unwrap() {
        json[key] = value.clone();
    }
    json
}

fn model(json: Value, config: Value) -> Classifier<ResNetClassifier> {
    let checkpoint = Checkpoint {
        config: json,
        preprocessor: Value::Null,
        ..Checkpoint::default()
    };
    let build = |root: &_, classes| ResNetClassifier::new(root, &checkpoint.config, &config, classes);
    let model = Classifier::new(&checkpoint, &config, &spec(3, ""), build).unwrap();
    fill_with_waves(&model);
    model
}

fn images() -> Tensor {
    waves(&[2, 3, 64, 64], 0.37)
}

struct Recorded {
    config: Value,
    eval: [f64; 6],
    train: [f64; 6],
    /// The first three channels of the first norm of stage 1, after one training batch.
    mean: [f64; 3],
    var: [f64; 3],
}

#[rustfmt::skip]
fn recorded() -> [Recorded; 4] {
    [
        Recorded {
            config: json!({"layer_type": "basic"}),
            eval: [6.201806, -1.856961, -3.645948, 6.28981, -1.901084, -3.681792],
            train: [3.475915, -0.716103, -2.268718, 2.449792, -0.547257, -1.442196],
            mean: [-0.016753295, 0.13065663, 0.14025317],
            var: [0.98663878, 1.04584312, 1.10272050],
        },
        Recorded {
            config: json!({"downsample_in_first_stage": true}),
            eval: [14.172844, -4.120386, -8.941284, 14.054909, -4.078016, -8.873434],
            train: [2.97196, -1.077066, -1.338051, 2.55688, -0.826704, -1.218936],
            mean: [0.196468785, -0.038558871, 0.32036528],
            var: [1.17281938, 1.35665572, 1.45420789],
        },
        Recorded {
            config: json!({"downsample_in_bottleneck": true}),
            eval: [16.149399, -4.733172, -10.193436, 16.270901, -4.749322, -10.295847],
            train: [2.998635, -0.809976, -1.680467, 3.228158, -0.964003, -1.727907],
            mean: [0.37831738, -0.20078672, 0.44001856],
            var: [1.34254015, 1.59040594, 1.72829735],
        },
        Recorded {
            config: json!({"hidden_act": "gelu", "layer_type": "basic"}),
            eval: [1.769013, -0.401089, -0.934209, 1.785433, -0.406374, -0.94438],
            train: [3.123138, -0.612721, -2.038153, 2.011463, -0.465723, -1.100252],
            mean: [-0.017861156, 0.12745717, 0.13518392],
            var: [0.98444742, 1.04246867, 1.09920669],
        },
    ]
}

#[test]
fn every_block_type_matches_the_reference() {
    for case in recorded() {
        let mut model = model(tiny(case.config.clone()), Value::Null);
        let batch = batch(
            images(),
            Some(Tensor::from_slice(&[1f32, 0.0, 0.0]).repeat([2, 1])),
        );
        let mut run = |mode| logits(&no_grad(|| model.forward(&batch, &context(mode))).unwrap());
        assert!(close(&run(Mode::EVAL), &case.eval), "{}", case.config);
        assert!(close(&run(Mode::TRAIN), &case.train), "{}", case.config);
        let statistic = |name: &str| {
            let name = format!("resnet.encoder.stages.1.layers.0.layer.0.normalization.{name}");
            let found = model.parameters().unwrap();
            found
                .iter()
                .find(|p| p.name == name.as_str())
                .unwrap()
                .tensor
                .tensor()
        };
        assert!(
            close(&statistic("running_mean").narrow(0, 0, 3), &case.mean),
            "{}",
            case.config
        );
        assert!(
            close(&statistic("running_var").narrow(0, 0, 3), &case.var),
            "{}",
            case.config
        );
        let counter = statistic("num_batches_tracked");
        assert_eq!((counter.kind(), counter.int64_value(&[])), (Kind::Int64, 1));
    }
}

#[test]
fn dropout_affects_only_training() {
    let batch = || {
        batch(
            images(),
            Some(Tensor::from_slice(&[1f32, 0.0, 0.0]).repeat([2, 1])),
        )
    };
    let run = |dropout: f64, mode| {
        let mut model = model(tiny(json!({})), json!({"model": {"dropout": dropout}}));
        logits(&no_grad(|| model.forward(&batch(), &context(mode))).unwrap())
    };
    assert_eq!(run(0.5, Mode::EVAL), run(0.0, Mode::EVAL));
    assert_ne!(run(0.5, Mode::TRAIN), run(0.0, Mode::TRAIN));
}

#[test]
fn parameters_have_tags_depths_and_aliases() {
    let model = model(tiny(json!({})), Value::Null);
    for parameter in model.parameters().unwrap() {
        let name = parameter.name.as_str();
        let head = name.starts_with("classifier.1.");
        assert_eq!(parameter.tags.has(Tags::CLASS_HEAD), head, "{name}");
        assert_eq!(parameter.tags.has(Tags::BACKBONE), !head, "{name}");
        let statistic = name.contains("running_") || name.ends_with("num_batches_tracked");
        assert_eq!(parameter.tags.has(Tags::BUFFER), statistic, "{name}");
        let no_decay = name.contains("normalization.weight") || name.ends_with("bias");
        assert_eq!(parameter.tags.has(Tags::NO_DECAY), no_decay, "{name}");
        let depth = match name {
            _ if head => 4,
            _ if name.contains("stages.2.") => 3,
            _ if name.contains("stages.0.") => 1,
            _ if name.contains("embedder") => 0,
            _ => 2,
        };
        assert_eq!(parameter.depth, depth, "{name}");
        // A checkpoint of the bare network has the same names without the prefix.
        let bare: Vec<&str> = parameter.aliases.iter().map(|a| a.as_str()).collect();
        assert_eq!(bare, name.strip_prefix("resnet.").into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn unsupported_configurations_name_the_key() {
    let error = |json: Value, config: Value| {
        let checkpoint = Checkpoint {
            config: json,
            preprocessor: Value::Null,
            ..Checkpoint::default()
        };
        let build = |root: &_, classes| ResNetClassifier::new(root, &checkpoint.config, &config, classes);
        Classifier::new(&checkpoint, &config, &spec(3, ""), build)
            .err()
            .unwrap()
    };
    for (key, value, part) in [
        ("hidden_act", json!("mish"), "hidden_act \"mish\": expected gelu"),
        (
            "layer_type",
            json!("mobile"),
            "`layer_type`: expected basic or bottleneck",
        ),
        (
            "depths",
            json!([1, 2]),
            "`hidden_sizes`: expected the same number of values as depths",
        ),
        (
            "hidden_sizes",
            json!([8, 18, 24]),
            "`hidden_sizes`: expected multiples of 4",
        ),
        ("num_channels", json!(1), "num_channels 1"),
        ("problem_type", json!("regression"), "problem_type"),
    ] {
        let error = error(tiny(json!({key: value})), Value::Null);
        assert!(error.message.contains(part), "{key}: {error}");
    }
    assert_eq!(
        error(tiny(json!({})), json!({"model": {"dropout": 1}})).key,
        "model.dropout"
    );
}

#[test]
fn the_saved_config_replaces_the_classes_and_keeps_the_rest() {
    let json = tiny(json!({"id2label": {"0": "old"}, "num_labels": 1, "something_new": [1]}));
    let saved = model(json, Value::Null).config_json().unwrap();
    assert_eq!(
        saved["id2label"],
        json!({"0": "class 0", "1": "class 1", "2": "class 2"})
    );
    assert_eq!(saved["problem_type"], "single_label_classification");
    assert_eq!(saved["architectures"], json!(["ResNetForImageClassification"]));
    assert_eq!(
        (saved.get("num_labels"), &saved["something_new"]),
        (None, &json!([1]))
    );
}

#[test]
fn the_schema_file_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.schema.json");
    let dropout = "Dropout of the averaged features before the last layer in training. By default none.";
    schema_is_current(&file, &cvhost_classification::schema(dropout));
}

#[test]
fn the_input_side_reports_the_stride_of_the_last_stage() {
    for (json, stride) in [
        (json!({}), 32),
        (json!({"out_features": ["stage2"]}), 32),
        (json!({"hidden_sizes": [8, 16], "depths": [1, 1]}), 8),
        (json!({"hidden_sizes": []}), 0),
    ] {
        let checkpoint = Checkpoint {
            config: json.clone(),
            preprocessor: Value::Null,
            ..Checkpoint::default()
        };
        let spec = LabelSpec::default();
        let input = ResNetAdapter
            .input(&AdapterArgs::new(&checkpoint, &json!({}), &spec))
            .unwrap();
        assert_eq!(input.stride(), stride, "{json}");
    }
}

use crate::Yolos;
use crate::config::YolosConfig;
use crate::network::YolosNetwork;
use cvhost_detection::forms::{BOXES, CLASS_LABELS, PIXEL_VALUES};
use cvhost_detection::testing::{self, context, difference, initialise, output};
use cvhost_detection::{Detector, DetectorInput};
use cvhost_layers::Activation;
use cvhost_plugin_api::data::{Batch, LabelSpec, Meta, Mode, NamedTensor, Tags};
use cvhost_plugin_api::sdk::{Checkpoint, FinishArgs, Input, Model, ShapeArgs};
use cvhost_plugin_api::testing::schema_is_current;
use cvhost_plugin_api::torch::batch_item;
use serde_json::{Value, json};
use std::path::Path;
use tch::{Device, Kind, Tensor, no_grad};

fn tiny() -> Value {
    json!({"model_type": "yolos", "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24,
        "image_size": [48, 64], "patch_size": 16, "num_detection_tokens": 5, "use_mid_position_embeddings": true,
        "initializer_range": 0.5})
}

fn spec() -> LabelSpec {
    LabelSpec {
        names: vec!["disc".into(), "ring".into()].into(),
        ids: vec![1, 2].into(),
        ..testing::spec(2)
    }
}

/// A model whose parameters are waves, so that they don't depend on torch's generator.
fn model(json: &Value, config: &Value) -> Detector<YolosNetwork> {
    let model = testing::detector::<Yolos>(json, config, &spec());
    for (i, p) in model.parameters().unwrap().iter().enumerate() {
        let mut tensor = p.tensor.tensor();
        let wave = waves(&tensor.size(), 0.37 + 0.01 * i as f64) * 0.5;
        no_grad(|| tensor.copy_(&wave));
    }
    model
}

fn waves(shape: &[i64], frequency: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    (Tensor::arange(count, (Kind::Float, Device::Cpu)) * frequency)
        .sin()
        .reshape(shape)
}

/// Images of waves of these `sizes` (height, width), padded to one batch, with one box each.
fn batch(sizes: &[(i64, i64)]) -> Batch {
    let image = |(i, &(h, w)): (usize, &(i64, i64))| waves(&[3, h, w], 0.8 + 0.1 * i as f64) * 4.0;
    let images: Vec<Tensor> = sizes.iter().enumerate().map(image).collect();
    testing::batch(&images, &vec![vec![([0.5, 0.4, 0.3, 0.2], 1)]; sizes.len()])
}

#[test]
fn an_image_gives_the_same_outputs_alone_and_padded_in_a_batch() {
    let mut model = model(&tiny(), &json!({}));
    let sizes = [(48, 64), (64, 32), (48, 64), (80, 96)];
    let together = model.forward(&batch(&sizes), &context(Mode::EVAL)).unwrap();
    let all = batch(&sizes).tensor(PIXEL_VALUES).unwrap();
    for (i, &(h, w)) in sizes.iter().enumerate() {
        let mut alone = batch(&[(h, w)]);
        let image = all.get(i as i64).narrow(1, 0, h).narrow(2, 0, w).unsqueeze(0);
        alone.items[0] = batch_item(PIXEL_VALUES, image, Vec::new());
        let alone = model.forward(&alone, &context(Mode::EVAL)).unwrap();
        for name in ["logits", "pred_boxes"] {
            let d = difference(
                &output(&together, name).get(i as i64),
                &output(&alone, name).get(0),
            );
            assert!(d < 1e-5, "{name} of image {i} differs by {d}");
        }
    }
    // The images differ, so a wrong order would be detected.
    assert!(
        difference(
            &output(&together, "logits").get(0),
            &output(&together, "logits").get(2)
        ) > 1e-3
    );
}

#[test]
fn padding_is_kept_if_the_meta_includes_it() {
    let mut model = model(&tiny(), &json!({}));
    let removed = batch(&[(48, 64), (64, 48)]);
    let mut kept = batch(&[(48, 64), (64, 48)]);
    for meta in kept.metas.iter_mut() {
        (meta.input_width, meta.input_height) = (64, 64);
    }
    let removed = model.forward(&removed, &context(Mode::EVAL)).unwrap();
    let kept = model.forward(&kept, &context(Mode::EVAL)).unwrap();
    let moved = difference(&output(&removed, "logits"), &output(&kept, "logits"));
    assert!(moved > 1e-4, "padding changed nothing: {moved}");
}

#[test]
fn any_input_size_from_one_patch_works() {
    let mut model = model(&tiny(), &json!({}));
    for size in [(16, 16), (50, 61), (48, 64), (200, 33)] {
        let out = model.forward(&batch(&[size]), &context(Mode::PREDICT)).unwrap();
        assert_eq!(output(&out, "logits").size(), [1, 5, 3]);
        assert_eq!(output(&out, "pred_boxes").size(), [1, 5, 4]);
        assert!(out.loss.is_none());
    }
    let error = model
        .forward(&batch(&[(15, 40)]), &context(Mode::PREDICT))
        .err()
        .unwrap();
    assert!(
        error
            .message
            .contains("40x15 pixels is too small: the model needs at least 16x16"),
        "{error}"
    );
}

#[test]
fn a_meta_that_does_not_fit_its_batch_is_an_error() {
    let mut model = model(&tiny(), &json!({}));
    let mut wrong = batch(&[(48, 64)]);
    wrong.metas[0].input_width = 65;
    let error = model.forward(&wrong, &context(Mode::PREDICT)).err().unwrap();
    assert!(
        error.message.contains("an input of 65x48 in a batch of 64x48"),
        "{error}"
    );
}

#[test]
fn every_parameter_gets_a_gradient() {
    let mut model = model(&tiny(), &json!({}));
    let out = model
        .forward(&batch(&[(48, 64), (64, 32)]), &context(Mode::TRAIN))
        .unwrap();
    out.loss.into_option().unwrap().tensor().backward();
    for p in model.parameters().unwrap() {
        let gradient = p.tensor.tensor().grad();
        assert!(
            gradient.defined() && gradient.isfinite().all().int64_value(&[]) == 1,
            "{}",
            p.name
        );
    }
}

#[test]
fn dropout_acts_in_training_only_and_the_configuration_overrides_it() {
    let config = json!({"model": {"dropout": 0.5}});
    let mut model = model(&tiny(), &config);
    let batch = batch(&[(48, 64)]);
    let mut logits = |mode| no_grad(|| output(&model.forward(&batch, &context(mode)).unwrap(), "logits"));
    assert!(difference(&logits(Mode::TRAIN), &logits(Mode::TRAIN)) > 1e-3);
    assert_eq!(difference(&logits(Mode::EVAL), &logits(Mode::EVAL)), 0.0);
    assert_eq!(model.config_json().unwrap()["hidden_dropout_prob"], json!(0.5));
}

#[test]
fn auxiliary_losses_include_every_layer() {
    let parts = |config: &Value| {
        let out = model(&tiny(), config)
            .forward(&batch(&[(48, 64)]), &context(Mode::EVAL))
            .unwrap();
        let value = |name: &str| {
            out.parts
                .iter()
                .find(|p| p.name == name)
                .map(|p| p.tensor.tensor().double_value(&[]))
        };
        (
            value("loss_ce"),
            value("loss_ce_0"),
            value("loss_ce_1"),
            out.loss.into_option().unwrap().tensor().double_value(&[]),
        )
    };
    let (ce, first, second, plain) = parts(&json!({}));
    assert!(ce.is_some() && first.is_none() && second.is_none());
    let (_, first, second, with) = parts(&json!({"model": {"aux_loss_weight": 0.5}}));
    assert!(first.is_some() && second.is_some() && with > plain);
}

#[test]
fn parameters_have_the_names_and_tags_of_a_checkpoint() {
    let parameters = model(&tiny(), &json!({})).parameters().unwrap();
    let find = |name: &str| {
        parameters
            .iter()
            .find(|p| p.name == name)
            .unwrap_or_else(|| panic!("no {name}"))
    };
    let mid = find("vit.encoder.mid_position_embeddings");
    assert_eq!(mid.tensor.tensor().size(), [2, 1, 1 + 12 + 5, 16]);
    assert!(mid.tags.has(Tags::BACKBONE) && !mid.tags.has(Tags::NO_DECAY));
    let norm = find("vit.encoder.layer.2.layernorm_after.weight");
    assert!(norm.tags.has(Tags::BACKBONE.and(Tags::NO_DECAY)));
    assert_eq!(
        (
            norm.depth,
            find("vit.embeddings.cls_token").depth,
            find("bbox_predictor.layers.0.bias").depth
        ),
        (3, 0, 4)
    );
    let head = find("class_labels_classifier.layers.2.weight");
    assert_eq!(
        (head.tensor.tensor().size(), head.tags),
        (vec![3, 16], Tags::CLASS_HEAD)
    );
    assert_eq!(find("class_labels_classifier.layers.1.weight").tags, Tags::NONE);
    // Embeddings 5, 16 per layer, final norm 2, two heads of 6, and the mid-layer positions.
    assert_eq!(parameters.len(), 5 + 3 * 16 + 2 + 12 + 1);

    let mut plain = tiny();
    plain["qkv_bias"] = json!(false);
    plain["use_mid_position_embeddings"] = json!(false);
    assert_eq!(
        model(&plain, &json!({})).parameters().unwrap().len(),
        5 + 3 * 13 + 2 + 12
    );
}

#[test]
fn parameters_are_initialised_as_configured() {
    let mut model = model(&tiny(), &json!({}));
    initialise(&mut model);
    let parameters = model.parameters().unwrap();
    let find = |name: &str| {
        parameters
            .iter()
            .find(|p| p.name == name)
            .unwrap()
            .tensor
            .tensor()
    };
    let spread = find("vit.embeddings.patch_embeddings.projection.weight")
        .std(true)
        .double_value(&[]);
    assert!((0.47..0.53).contains(&spread), "{spread}");
    assert!(
        find("vit.embeddings.detection_tokens")
            .std(true)
            .double_value(&[])
            > 0.3
    );
    assert!(find("vit.layernorm.weight").eq(1.0).all().int64_value(&[]) == 1);
    assert!(
        find("bbox_predictor.layers.2.bias")
            .eq(0.0)
            .all()
            .int64_value(&[])
            == 1
    );
    assert!(model.initialise(&["vit.nothing"]).is_err());
}

#[test]
fn finish_returns_original_pixels() {
    let mut model = model(&tiny(), &json!({}));
    let metas = [Meta {
        width: 200,
        height: 100,
        ..Default::default()
    }];
    let outputs: Vec<NamedTensor> = vec![
        cvhost_plugin_api::torch::named(
            "logits",
            Tensor::from_slice(&[0f32, 5.0, 0.0, 1.0, 0.0, 9.0]).reshape([1, 2, 3]),
        ),
        cvhost_plugin_api::torch::named(
            "pred_boxes",
            Tensor::from_slice(&[0.5f32, 0.5, 0.5, 0.5])
                .repeat([2])
                .reshape([1, 2, 4]),
        ),
    ];
    let found = model
        .finish(&FinishArgs::new(&outputs, &metas, json!({"threshold": 0.5})))
        .unwrap();
    assert_eq!(
        found[0].require(CLASS_LABELS).unwrap().values::<i64>().unwrap(),
        [1]
    );
    assert_eq!(
        found[0].require(BOXES).unwrap().to_rows::<4>().unwrap(),
        [[50.0, 25.0, 150.0, 75.0]]
    );
    assert!(
        model
            .finish(&FinishArgs::new(&outputs[..1], &metas, json!({})))
            .is_err()
    );
}

#[test]
fn the_saved_config_has_the_data_sets_classes_and_keeps_other_keys() {
    let mut json = tiny();
    json["num_labels"] = json!(91);
    json["id2label"] = json!({"0": "person"});
    json["something_new"] = json!([1, 2]);
    let saved = model(&json, &json!({})).config_json().unwrap();
    assert_eq!(saved["id2label"], json!({"0": "disc", "1": "ring"}));
    assert_eq!(saved["label2id"], json!({"disc": 0, "ring": 1}));
    assert_eq!(saved["something_new"], json!([1, 2]));
    assert_eq!(saved["image_size"], json!([48, 64]));
    assert_eq!(saved.get("num_labels"), None);
}

#[test]
fn missing_keys_mean_the_base_model_and_errors_name_the_key() {
    let base = YolosConfig::new(&json!({}), &json!({})).unwrap();
    assert_eq!(
        (
            base.vit.hidden_size,
            base.vit.layers,
            base.vit.grid,
            base.positions()
        ),
        (768, 12, (32, 54), 1829)
    );
    assert_eq!(base.vit.activation, Activation::Gelu);
    let wrong = [
        (json!({"hidden_size": "big"}), "`hidden_size`: invalid type"),
        (
            json!({"num_hidden_layers": 0}),
            "`num_hidden_layers`: expected 1 to 65536, got 0",
        ),
        (
            json!({"num_attention_heads": 5}),
            "`num_attention_heads`: expected a divisor of hidden_size 768",
        ),
        (
            json!({"image_size": [8, 800]}),
            "`image_size`: expected at least one patch of 16x16 pixels",
        ),
        (
            json!({"patch_size": [16, 8]}),
            "`patch_size`: expected a square patch",
        ),
        (
            json!({"hidden_act": "mish"}),
            "hidden_act \"mish\": expected gelu",
        ),
        (
            json!({"num_channels": 1}),
            "num_channels 1: images have 3 channels",
        ),
        (
            json!({"attention_probs_dropout_prob": 1.5}),
            "`attention_probs_dropout_prob`: expected 0 to below 1",
        ),
    ];
    for (json, part) in wrong {
        let error = YolosConfig::new(&json, &json!({})).unwrap_err();
        assert!(error.message.contains(part), "{json}: {error}");
    }
    let error = YolosConfig::new(&json!({}), &json!({"model": {"dropout": 1}})).unwrap_err();
    assert_eq!(error.key, "model.dropout");
}

#[test]
fn input_sides_are_floored_to_whole_patches() {
    let input = DetectorInput::new::<Yolos>(&Checkpoint::default(), &json!({})).unwrap();
    assert_eq!(
        input
            .shape(&ShapeArgs::new(640, 480, false))
            .unwrap()
            .dims
            .as_slice(),
        [3, 800, 1056]
    );
    assert!(input.collate()[0].mask.is_empty());
    assert_eq!(input.stride(), 16);
}

#[test]
fn the_schema_file_is_the_detectors_schema() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.schema.json");
    let dropout = "Dropout after the embeddings and after attention and feed-forward blocks in \
                   training. By default the checkpoint's `hidden_dropout_prob`.";
    schema_is_current(&file, &cvhost_detection::schema(dropout));
}

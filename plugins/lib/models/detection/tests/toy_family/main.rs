//! A complete detection family on the kit: it has only a network (`network.rs`), loss settings and
//! the checkpoint's parameter names.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod network;

use cvhost_detection::forms::{BOXES, CLASS_LABELS, PIXEL_VALUES, SCORES};
use cvhost_detection::testing::{batch, checkpoint, context, detector, difference, initialise, output, spec};
use cvhost_detection::{Detector, DetectorAdapter, DetectorInput, Family, LossSettings, Padding};
use cvhost_image_processor::Defaults;
use cvhost_plugin_api::data::{Array, ArrayMut, Batch, Fields, Image, Mode, Role, Sample, Tags};
use cvhost_plugin_api::error::{ErrorKind, Result};
use cvhost_plugin_api::sdk::{Adapter, AdapterArgs, FinishArgs, Input, Model, PrepareArgs, ShapeArgs};
use cvhost_plugin_api::torch::Scope;
use network::{STRIDE, ToyNetwork};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};

struct Toy;

impl Family for Toy {
    type Network = ToyNetwork;

    const MODEL_TYPE: &'static str = "toy";
    const ARCHITECTURE: &'static str = "ToyForObjectDetection";
    const PROCESSOR: Defaults = Defaults::shortest_edge("ToyImageProcessor");
    const PADDING: Padding = Padding::Removed;
    const LOSS: LossSettings = LossSettings {
        eos_coefficient: 0.2,
        ..LossSettings::DETR
    };

    fn stride(_: &Value) -> Result<i64> {
        Ok(STRIDE)
    }

    fn network(root: &Scope, json: &Value, config: &Value, classes: i64) -> Result<ToyNetwork> {
        ToyNetwork::new(root, json, config, classes)
    }
}

fn model(json: &Value, config: &Value) -> Detector<ToyNetwork> {
    let mut model = detector::<Toy>(json, config, &spec(2));
    initialise(&mut model);
    model
}

/// A bright square in the given corner of a dark image.
fn square(height: i64, width: i64, top: i64, left: i64) -> Tensor {
    let image = Tensor::zeros([3, height, width], (Kind::Float, Device::Cpu));
    let _ = image.narrow(1, top, 16).narrow(2, left, 16).fill_(2.0);
    image
}

/// Two images of different sizes with one box each.
fn squares() -> Batch {
    let images = [square(48, 64, 0, 0), square(64, 32, 32, 16)];
    let targets = [
        vec![([0.125, 0.167, 0.25, 0.333], 0)],
        vec![([0.75, 0.625, 0.5, 0.25], 1)],
    ];
    batch(&images, &targets)
}

/// One step of gradient descent; returns the loss before it.
fn step(model: &mut Detector<ToyNetwork>, batch: &Batch, rate: f64) -> f64 {
    let mut context = context(Mode::TRAIN);
    context.normalisers = model.normalisers(batch).unwrap();
    let loss = model.forward(batch, &context).unwrap().loss;
    let loss = loss.into_option().unwrap().tensor();
    loss.backward();
    for parameter in model.parameters().unwrap() {
        let mut tensor = parameter.tensor.tensor();
        let mut gradient = tensor.grad();
        assert!(gradient.defined(), "{}", parameter.name);
        no_grad(|| {
            let _ = tensor.f_sub_(&(&gradient * rate)).unwrap();
            let _ = gradient.zero_();
        });
    }
    loss.double_value(&[])
}

fn predict(model: &mut Detector<ToyNetwork>, batch: &Batch, options: &Value) -> Vec<Fields> {
    let out = model.forward(batch, &context(Mode::PREDICT)).unwrap();
    assert!(out.loss.is_none());
    let outputs: Vec<_> = out.outputs.into();
    model
        .finish(&FinishArgs::new(&outputs, &batch.metas, options.clone()))
        .unwrap()
}

#[test]
fn parameters_have_names_aliases_and_tags() {
    let model = detector::<Toy>(&json!({}), &json!({}), &spec(2));
    let parameters = model.parameters().unwrap();
    let find = |name: &str| parameters.iter().find(|p| p.name == name).unwrap();
    let convolution = find("backbone.0.weight");
    assert_eq!(convolution.aliases[0], "body.0.weight");
    assert!(convolution.tags.has(Tags::BACKBONE));
    assert!(find("decoder.queries").aliases.is_empty());
    // Two classes and "no object".
    let head = find("class_labels_classifier.weight");
    assert_eq!(head.tensor.tensor().size(), [3, 16]);
    assert_eq!((head.tags, head.depth), (Tags::CLASS_HEAD, 2));
    // Convolutions 4, queries 1, 4 per layer, heads 2 + 6.
    assert_eq!(parameters.len(), 4 + 1 + 2 * 4 + 2 + 6);
}

#[test]
fn initialise_fills_parameters_by_their_rules() {
    let mut model = model(&json!({}), &json!({}));
    for parameter in model.parameters().unwrap() {
        let (name, largest) = (&parameter.name, parameter.tensor.tensor().abs().max());
        let largest = largest.double_value(&[]);
        assert!(largest.is_finite(), "{name}");
        assert_eq!(largest == 0.0, name.ends_with("bias"), "{name}");
    }
    assert!(model.initialise(&["backbone.9.weight"]).is_err());
}

#[test]
fn training_lowers_the_loss() {
    let mut model = model(&json!({}), &json!({"model": {"aux_loss_weight": 0.5}}));
    let batch = squares();
    let losses: Vec<f64> = (0..40).map(|_| step(&mut model, &batch, 0.01)).collect();
    assert!(losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
    assert!(losses[39] < 0.7 * losses[0], "{losses:?}");

    let out = model.forward(&batch, &context(Mode::EVAL)).unwrap();
    let parts: Vec<&str> = out.parts.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(parts.len(), 8, "{parts:?}");
}

#[test]
fn predictions_are_in_original_pixels_and_do_not_depend_on_the_batch() {
    let mut model = model(&json!({}), &json!({}));
    let together = predict(&mut model, &squares(), &json!({}));
    let alone = batch(&[square(64, 32, 32, 16)], &[vec![]]);
    let alone = predict(&mut model, &alone, &json!({}));
    let values = |fields: &Fields, name| fields.require(name).unwrap().to_f64().unwrap();
    for name in [BOXES, CLASS_LABELS, SCORES] {
        let (a, b) = (values(&together[1], name), values(&alone[0], name));
        let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(a.len() == b.len() && worst < 1e-3, "{name}: {worst}");
    }
    assert_eq!(together[0].require(BOXES).unwrap().dims(), [5, 4]);
    let options = json!({"max_detections": 2, "threshold": 0.0});
    let best = predict(&mut model, &squares(), &options);
    assert_eq!(values(&best[0], SCORES).len(), 2);

    let small = Tensor::zeros([3, 8, 20], (Kind::Float, Device::Cpu));
    let small = batch(&[small], &[vec![]]);
    let error = model.forward(&small, &context(Mode::PREDICT)).err().unwrap();
    assert!(error.message.contains("20x8 pixels is too small"), "{error}");
}

#[test]
fn the_saved_config_rebuilds_the_model() {
    let original = json!({"num_queries": 7, "num_labels": 91, "torch_dtype": "float16", "note": [1]});
    let mut model = model(&original, &json!({"model": {"dropout": 0.25}}));
    let text = model.config_json().unwrap().to_string();
    let saved: Value = serde_json::from_str(&text).unwrap();
    let expected = json!({
        "model_type": "toy", "architectures": ["ToyForObjectDetection"], "num_queries": 7,
        "torch_dtype": "float32", "note": [1], "dropout": 0.25,
        "id2label": {"0": "class 0", "1": "class 1"}, "label2id": {"class 0": 0, "class 1": 1},
    });
    assert_eq!(saved, expected);

    let mut again = detector::<Toy>(&saved, &json!({}), &spec(2));
    let (ours, theirs) = (again.parameters().unwrap(), model.parameters().unwrap());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours.name, theirs.name);
        no_grad(|| ours.tensor.tensor().copy_(&theirs.tensor.tensor()));
    }
    let logits = |model: &mut Detector<ToyNetwork>| {
        let out = model.forward(&squares(), &context(Mode::PREDICT)).unwrap();
        output(&out, "logits")
    };
    assert_eq!(difference(&logits(&mut model), &logits(&mut again)), 0.0);
    assert_eq!(again.config_json().unwrap(), saved);
}

#[test]
fn the_input_prepares_images_and_boxes() {
    let config = json!({"data": {"image_size": [32, 48]}});
    let input = DetectorInput::new::<Toy>(&checkpoint(&json!({})), &config).unwrap();
    assert_eq!(
        input
            .shape(&ShapeArgs::new(96, 64, true))
            .unwrap()
            .dims
            .as_slice(),
        [3, 32, 48]
    );
    assert_eq!(input.stride(), 16);
    let names: Vec<_> = input.collate().into_iter().map(|rule| rule.name).collect();
    assert_eq!(names, [PIXEL_VALUES, BOXES, CLASS_LABELS]);
    let saved = input.config_json().unwrap();
    assert_eq!(saved["image_processor_type"], "ToyImageProcessor");

    let targets = Fields::new()
        .with(BOXES, Role::BOXES, Array::rows(&[[0.0, 0.0, 48.0, 32.0]]))
        .with(CLASS_LABELS, Role::COLUMN, Array::vector(&[1i64]));
    let sample = Sample {
        images: vec![Image::filled(96, 64, [255; 3])].into(),
        fields: targets,
        ..Default::default()
    };
    let mut pixels = vec![f32::NAN; 3 * 32 * 48];
    let out = ArrayMut::new(&mut pixels, &[3, 32, 48], &[32 * 48, 48, 1]).unwrap();
    let prepared = input.prepare(&PrepareArgs::new(&sample), out).unwrap();
    assert!(pixels.iter().all(|p| p.is_finite()));
    let meta = prepared.meta;
    assert_eq!((meta.input_width, meta.input_height), (48, 32));
    let boxes = prepared.fields.require(BOXES).unwrap().to_rows::<4>().unwrap();
    assert_eq!(boxes, [[0.25, 0.25, 0.5, 0.5]]);
}

#[test]
fn the_adapter_builds_both_sides_and_errors_name_the_key() {
    let adapter = DetectorAdapter::<Toy>::new();
    let build = |json: Value, config: Value, classes| {
        let checkpoint = checkpoint(&json);
        adapter
            .input(&AdapterArgs::new(&checkpoint, &config, &spec(classes)))
            .unwrap();
        adapter
            .model(&AdapterArgs::new(&checkpoint, &config, &spec(classes)))
            .err()
    };
    assert!(build(json!({}), json!({}), 2).is_none());
    assert_eq!(build(json!({}), json!({}), 0).unwrap().kind, ErrorKind::DATA);
    let error = build(json!({"hidden_size": 0}), json!({}), 2).unwrap();
    assert!(error.message.contains("`hidden_size`"), "{error}");
    let error = build(json!({}), json!({"model": {"aux_loss_weight": -1}}), 2).unwrap();
    assert_eq!(error.key, "model.aux_loss_weight");
}

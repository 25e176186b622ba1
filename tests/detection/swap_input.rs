//! Inputs of the adapter that modifies another one, through the host's loader.

use cvhost::plugins::{Catalogue, Folder, Host, Origin, Search};
use cvhost_checkpoint::ModelFolder;
use cvhost_data::{Loader, LoaderOptions, OrderOptions, Source};
use cvhost_engine::registry::Registry;
use cvhost_engine::session::checkpoint_spec;
use cvhost_plugin_api::abi::InputBox;
use cvhost_plugin_api::data::{Array, Fields, Image, ImageSource, Record, Role};
use cvhost_plugin_api::sdk::{AdapterArgs, Checkpoint, ShapeArgs};
use cvhost_tests::{fixture, programs, variant};
use cvhost_torch::batch::to_batch;
use serde_json::json;
use std::sync::Arc;
use tch::{Device, Kind};

/// The `Input` of an adapter for the tiny DETR; `name` is the value of `model.adapter`.
fn input(name: &str) -> InputBox {
    let folder = Folder {
        path: programs::built().to_owned(),
        origin: Origin::Build,
        exists: true,
    };
    let search = Search {
        files: vec![variant::plugin().to_owned()],
        folders: vec![folder],
    };
    let registry = Registry::shared(Catalogue::discover(&search, Host::this()).unwrap());
    let (adapter, _) = registry
        .adapter("detection/1", "detr", Some(name), &json!({}))
        .unwrap();
    let model = ModelFolder::open(&fixture("golden/detr")).unwrap();
    let spec = checkpoint_spec("detection/1", &model).unwrap();
    let checkpoint = Checkpoint {
        config: model.config.clone(),
        preprocessor: model.preprocessor.clone(),
        ..Checkpoint::default()
    };
    let settings = json!({});
    let args = AdapterArgs::new(&checkpoint, &settings, &spec);
    args.lend(|args| adapter.input(args)).into_result().unwrap()
}

#[test]
fn both_sides_of_the_input_are_the_nearest_multiples_of_32() {
    let (plain, ours) = (input("detr"), input("detr-variant"));
    let size = |input: &InputBox, width: u32, height: u32| {
        let shape = ShapeArgs::new(width, height, false)
            .lend(|args| input.shape(args))
            .into_result()
            .unwrap();
        assert_eq!((shape.name.as_str(), shape.dims[0]), ("pixel_values", 3));
        [shape.dims[1], shape.dims[2]]
    };
    let mut changed = 0;
    for (width, height) in [(640, 480), (480, 640), (96, 64), (72, 72), (1000, 40), (33, 300)] {
        let (base, rounded) = (size(&plain, width, height), size(&ours, width, height));
        for (from, to) in base.into_iter().zip(rounded) {
            assert_eq!(to % 32, 0, "{width}x{height}: {rounded:?}");
            assert!(
                to.abs_diff(from) <= 16 || to == 32,
                "{width}x{height}: {base:?} {rounded:?}"
            );
        }
        changed += usize::from(base != rounded);
    }
    assert!(changed >= 3, "{changed}");
}

#[test]
fn a_batch_has_images_of_that_size_and_unchanged_relative_boxes() {
    let record = || {
        let pixels: Vec<u8> = (0..96 * 64 * 3).map(|i| (i % 251) as u8).collect();
        let image = Image::rgb8(96, 64, pixels);
        Record {
            images: vec![ImageSource::decoded(image)].into(),
            fields: Fields::new()
                .with("boxes", Role::BOXES, Array::rows(&[[24.0f64, 16.0, 72.0, 48.0]]))
                .with("class_labels", Role::COLUMN, Array::vector(&[1i64])),
            ..Record::default()
        }
    };
    let batch = |name: &str| {
        let source: Arc<dyn Source> = Arc::new(vec![record()]);
        let options = LoaderOptions {
            order: OrderOptions {
                batch_size: 1,
                ..OrderOptions::default()
            },
            train: true,
            ..LoaderOptions::default()
        };
        let loader = Loader::new(source, Arc::new(input(name)), options).unwrap();
        let mut batch = loader.epoch(0, 0).next().unwrap().unwrap();
        let meta = batch.metas[0].clone();
        assert_eq!((meta.width, meta.height), (96, 64));
        let batch = to_batch(&mut batch, Device::Cpu).unwrap();
        let boxes: Vec<f64> = Vec::try_from(
            batch
                .ragged("boxes")
                .unwrap()
                .0
                .to_kind(Kind::Double)
                .flatten(0, -1),
        )
        .unwrap();
        (
            batch.tensor("pixel_values").unwrap().size(),
            (meta.input_width, meta.input_height),
            boxes,
        )
    };
    let (size, inside, boxes) = batch("detr-variant");
    assert_eq!(size, [1, 3, 96, 160]);
    assert_eq!(inside, (160, 96));
    assert_eq!(boxes, [0.5; 4]);
    assert_eq!(batch("detr").2, boxes);
}

//! A golden case, and an adapter from its built cdylib to compare with it.

use crate::{fixture, programs};
use cvhost::plugins::{Catalogue, Folder, Host, Origin, Search};
use cvhost_engine::checkpoint::{LoadPolicy, ModelFolder, Weights, load_into};
use cvhost_engine::data::{HostBatch, Loader, LoaderOptions, Source};
use cvhost_engine::network::{Forward, Network};
use cvhost_engine::plugins::Registry;
use cvhost_engine::session::checkpoint_spec;
use cvhost_plugin_api::abi::{AdapterBox, InputBox};
use cvhost_plugin_api::abi_stable::std_types::RStr;
use cvhost_plugin_api::data::{
    Array, Batch, Fields, LabelSpec, Mode, Picture, PictureSource, Record, Role, StepContext,
};
use cvhost_plugin_api::torch::batch_item;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tch::{Kind, Tensor};

/// The plugins of the build, through the host's discovery and loader.
pub fn registry() -> Registry {
    let folder = Folder {
        path: programs::built().to_owned(),
        origin: Origin::Build,
        exists: true,
    };
    let search = Search {
        files: Vec::new(),
        folders: vec![folder],
    };
    Registry::new(Catalogue::discover(&search, Host::this()).unwrap())
}

/// The adapter for a checkpoint's configuration.
pub fn adapter(config: &Value) -> AdapterBox {
    let model_type = config["model_type"].as_str().unwrap();
    registry().adapter("detection/1", model_type, None).unwrap().0
}

/// A network that is built but not filled.
pub fn network(config: &Value, spec: &LabelSpec) -> Network {
    let files = json!({"config": config, "preprocessor": null}).to_string();
    let model = adapter(config).model(RStr::from_str(&files), RStr::from_str("{}"), spec);
    Network::new(model.into_result().unwrap()).unwrap()
}

/// One reference case with its model.
pub struct Case {
    pub json: Value,
    pub tensors: BTreeMap<String, Tensor>,
    pub spec: LabelSpec,
    pub input: Arc<InputBox>,
    pub network: Network,
    pub pictures: Vec<Picture>,
}

impl Case {
    pub fn open(name: &str) -> Case {
        let path = fixture(&format!("golden/{name}"));
        let folder = ModelFolder::open(&path).unwrap();
        let spec = checkpoint_spec("detection/1", &folder).unwrap();
        let files = json!({"config": folder.config, "preprocessor": folder.preprocessor}).to_string();
        let (files, config) = (RStr::from_str(&files), RStr::from_str("{}"));
        let adapter = adapter(&folder.config);
        let input = adapter.input(files, config, &spec).into_result().unwrap();
        let model = adapter.model(files, config, &spec).into_result().unwrap();
        let network = Network::new(model).unwrap();
        let report = load_into(
            network.parameters(),
            &folder.weights().unwrap(),
            LoadPolicy::default(),
        )
        .unwrap();
        assert!(report.rows.is_empty(), "{report}");
        let golden = Weights::open(&[path.join("golden.safetensors")]).unwrap();
        let tensors: BTreeMap<String, Tensor> = golden
            .names()
            .iter()
            .map(|n| (n.clone(), golden.read(n).unwrap()))
            .collect();
        let json: Value =
            serde_json::from_str(&std::fs::read_to_string(path.join("golden.json")).unwrap()).unwrap();
        let pictures = (0..)
            .map_while(|i| tensors.get(&format!("image.{i}")))
            .map(picture)
            .collect();
        Case {
            json,
            tensors,
            spec,
            input: Arc::new(input),
            network,
            pictures,
        }
    }

    pub fn tensor(&self, name: &str) -> &Tensor {
        self.tensors
            .get(name)
            .unwrap_or_else(|| panic!("the case has no `{name}`"))
    }

    /// The pictures with their targets, as a task would give them.
    pub fn records(&self) -> Vec<Record> {
        let record = |i: usize, picture: &Picture| {
            let boxes = self.tensor(&format!("target.{i}.boxes")).to_kind(Kind::Double);
            let rows: Vec<[f64; 4]> = (0..boxes.size()[0])
                .map(|r| {
                    let v = |c| boxes.double_value(&[r, c]);
                    [v(0), v(1), v(0) + v(2), v(1) + v(3)]
                })
                .collect();
            let labels: Vec<i64> = Vec::try_from(self.tensor(&format!("target.{i}.class_labels"))).unwrap();
            Record {
                name: format!("picture {i}").into(),
                pictures: vec![PictureSource::decoded(picture.clone())].into(),
                fields: Fields::new().with("boxes", Role::BOXES, Array::rows(&rows)).with(
                    "class_labels",
                    Role::COLUMN,
                    Array::vector(&labels),
                ),
                ..Record::default()
            }
        };
        self.pictures
            .iter()
            .enumerate()
            .map(|(i, p)| record(i, p))
            .collect()
    }

    /// What the host makes of records: one batch.
    pub fn batch(&self, records: Vec<Record>) -> HostBatch {
        let batch_size = records.len();
        let source: Arc<dyn Source> = Arc::new(records);
        let options = LoaderOptions {
            batch_size,
            train: true,
            ..LoaderOptions::default()
        };
        let loader = Loader::new(source, Arc::clone(&self.input), options);
        loader.epoch(0, 0).next().unwrap().unwrap()
    }

    /// The reference's own inputs and labels, which are relative to the padded canvas. A family with a mask learns from it what
    /// is padding; one without sees the padding as part of the picture, so there the metas say that the input reaches over
    /// the whole canvas.
    pub fn reference_batch(&self) -> Batch {
        let pixels = self.tensor("input.pixel_values").copy();
        let size = pixels.size();
        let mut items = vec![batch_item("pixel_values", pixels, vec![])];
        items.push(batch_item(
            "pixel_mask",
            self.tensor("input.pixel_mask").copy(),
            vec![],
        ));
        let all = |key: &str| -> Vec<Tensor> {
            (0..self.pictures.len())
                .map(|i| self.tensor(&format!("labels.{i}.{key}")).copy())
                .collect()
        };
        let (boxes, labels) = (all("boxes"), all("class_labels"));
        let mut offsets = vec![0u64];
        offsets.extend(boxes.iter().scan(0, |sum, b| {
            *sum += b.size()[0] as u64;
            Some(*sum)
        }));
        items.push(batch_item("boxes", Tensor::cat(&boxes, 0), offsets.clone()));
        items.push(batch_item("class_labels", Tensor::cat(&labels, 0), offsets));
        let mut metas = self.batch(self.records()).metas;
        if !self.input.collate().iter().any(|rule| rule.mask == "pixel_mask") {
            for meta in &mut metas {
                (meta.input_width, meta.input_height) = (size[3] as u32, size[2] as u32);
            }
        }
        Batch {
            items: items.into(),
            metas: metas.into(),
        }
    }

    pub fn forward(&mut self, batch: &Batch, mode: Mode) -> Forward {
        let normalisers = match mode {
            Mode::PREDICT => Vec::new(),
            _ => self.network.normalisers(batch).unwrap(),
        };
        self.network
            .forward(
                batch,
                &StepContext {
                    mode,
                    step: 0,
                    epoch: 0,
                    normalisers,
                },
            )
            .unwrap()
    }
}

fn picture(tensor: &Tensor) -> Picture {
    let size = tensor.size();
    let pixels: Vec<u8> = Vec::try_from(tensor.flatten(0, -1)).unwrap();
    Picture {
        width: size[1] as u32,
        height: size[0] as u32,
        pixels: pixels.into(),
    }
}

/// The largest |a − b| over 1 + the largest |b|: what the tolerance for outputs is about.
pub fn difference(ours: &Tensor, reference: &Tensor) -> f64 {
    assert_eq!(ours.size(), reference.size());
    let (ours, reference) = (ours.to_kind(Kind::Double), reference.to_kind(Kind::Double));
    let largest = (&ours - &reference).abs().max().double_value(&[]);
    largest / (1.0 + reference.abs().max().double_value(&[]))
}

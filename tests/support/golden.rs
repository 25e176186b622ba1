//! Golden cases, and adapters from their built cdylibs to compare with them.

mod classification;
mod detection;

use crate::{fixture, programs};
use cvhost::plugins::{Catalogue, Folder, Host, Origin, Search};
use cvhost_checkpoint::{LoadPolicy, ModelFolder, Weights, load_into};
use cvhost_data::{HostBatch, Loader, LoaderOptions, OrderOptions, Source};
use cvhost_engine::registry::Registry;
use cvhost_engine::session::checkpoint_spec;
use cvhost_plugin_api::abi::{AdapterBox, InputBox};
use cvhost_plugin_api::data::{Batch, Image, ImageSource, LabelSpec, Mode, Record, StepContext};
use cvhost_plugin_api::sdk::{AdapterArgs, Checkpoint};
use cvhost_torch::network::{Forward, Network};
use cvhost_torch::shim;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

pub use cvhost_plugin_api::forms::classification::FORM as CLASSIFICATION;
pub use cvhost_plugin_api::forms::detection::FORM as DETECTION;

/// The plugins of this build, through the host's discovery and loader.
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

/// The adapter for a form and a checkpoint's configuration.
pub fn adapter(form: &str, config: &Value) -> AdapterBox {
    let model_type = config["model_type"].as_str().unwrap();
    registry().adapter(form, model_type, None, &json!({})).unwrap().0
}

/// A network without loaded weights.
pub fn network(config: &Value, spec: &LabelSpec) -> Network {
    let checkpoint = Checkpoint {
        config: config.clone(),
        ..Checkpoint::default()
    };
    let settings = json!({});
    let args = AdapterArgs::new(&checkpoint, &settings, spec);
    let model = args.lend(|args| adapter(&spec.form, config).model(args));
    Network::new(model.into_result().unwrap()).unwrap()
}

/// Device of the cases: the CPU, or the value of `CVHOST_TEST_DEVICE`, such as `cuda:0`.
pub fn device() -> Device {
    let Ok(name) = std::env::var("CVHOST_TEST_DEVICE") else {
        return Device::Cpu;
    };
    shim::open_cuda();
    shim::allow_tf32(false).unwrap(); // the reference was computed in full float32
    let index = name.strip_prefix("cuda:").and_then(|n| n.parse().ok());
    Device::Cuda(index.unwrap_or_else(|| panic!("CVHOST_TEST_DEVICE={name}: expected cuda:N")))
}

/// One reference case with its model, on [`device`].
pub struct Case {
    /// The form that task and adapter share.
    pub form: &'static str,
    pub json: Value,
    pub tensors: BTreeMap<String, Tensor>,
    pub spec: LabelSpec,
    pub input: Arc<InputBox>,
    pub network: Network,
    pub images: Vec<Image>,
}

impl Case {
    pub fn open(name: &str) -> Case {
        let device = device();
        let path = fixture(&format!("golden/{name}"));
        let json: Value =
            serde_json::from_str(&std::fs::read_to_string(path.join("golden.json")).unwrap()).unwrap();
        let form = match json["kind"].as_str().unwrap() {
            "detection" => DETECTION,
            "classification" => CLASSIFICATION,
            other => panic!("{name}: no form for the kind {other}"),
        };
        let folder = ModelFolder::open(&path).unwrap();
        let spec = checkpoint_spec(form, &folder).unwrap();
        let checkpoint = Checkpoint {
            config: folder.config.clone(),
            preprocessor: folder.preprocessor.clone(),
            ..Checkpoint::default()
        };
        let settings = json!({});
        let args = AdapterArgs::new(&checkpoint, &settings, &spec);
        let adapter = adapter(form, &folder.config);
        let input = args.lend(|args| adapter.input(args)).into_result().unwrap();
        let model = args.lend(|args| adapter.model(args)).into_result().unwrap();
        let mut network = Network::new(model).unwrap();
        let report = load_into(
            network.parameters(),
            &folder.weights().unwrap(),
            LoadPolicy::default(),
        )
        .unwrap();
        assert!(report.rows.is_empty(), "{report}");
        network.to_device(device).unwrap();
        let golden = Weights::open(&[path.join("golden.safetensors")]).unwrap();
        let tensors: BTreeMap<String, Tensor> = golden
            .names()
            .iter()
            .map(|n| (n.clone(), golden.read(n).unwrap().to_device(device)))
            .collect();
        let images = (0..)
            .map_while(|i| tensors.get(&format!("image.{i}")))
            .map(image)
            .collect();
        Case {
            form,
            json,
            tensors,
            spec,
            input: Arc::new(input),
            network,
            images,
        }
    }

    pub fn tensor(&self, name: &str) -> &Tensor {
        self.tensors
            .get(name)
            .unwrap_or_else(|| panic!("the case has no `{name}`"))
    }

    /// The images with their targets, as a task would provide them.
    pub fn records(&self) -> Vec<Record> {
        let fields = |i| match self.form {
            DETECTION => detection::targets(self, i),
            _ => classification::targets(self, i),
        };
        let record = |(i, image): (usize, &Image)| Record {
            name: format!("image {i}").into(),
            images: vec![ImageSource::decoded(image.clone())].into(),
            fields: fields(i),
            ..Record::default()
        };
        self.images.iter().enumerate().map(record).collect()
    }

    /// Loads and collates records into one batch, as the host does.
    pub fn batch(&self, records: Vec<Record>) -> HostBatch {
        let batch_size = records.len();
        let source: Arc<dyn Source> = Arc::new(records);
        let options = LoaderOptions {
            order: OrderOptions {
                batch_size,
                ..OrderOptions::default()
            },
            train: true,
            ..LoaderOptions::default()
        };
        let loader = Loader::new(source, Arc::clone(&self.input), options).unwrap();
        loader.epoch(0, 0).next().unwrap().unwrap()
    }

    /// The reference's own inputs and labels.
    pub fn reference_batch(&self) -> Batch {
        match self.form {
            DETECTION => detection::reference_batch(self),
            _ => classification::reference_batch(self),
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
                    ..StepContext::new(mode)
                },
            )
            .unwrap()
    }
}

fn image(tensor: &Tensor) -> Image {
    let size = tensor.size();
    let pixels: Vec<u8> = Vec::try_from(tensor.flatten(0, -1)).unwrap();
    Image::rgb8(size[1] as u32, size[0] as u32, pixels)
}

/// max |ours − reference| / (1 + max |reference|), which the tolerance for outputs limits.
pub fn difference(ours: &Tensor, reference: &Tensor) -> f64 {
    assert_eq!(ours.size(), reference.size());
    let (ours, reference) = (ours.to_kind(Kind::Double), reference.to_kind(Kind::Double));
    let largest = (&ours - &reference).abs().max().double_value(&[]);
    largest / (1.0 + reference.abs().max().double_value(&[]))
}

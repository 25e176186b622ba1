//! The tasks of `tests/plugins/walks`: trained through the built programs, and called through the
//! host's loader.

use crate::events::path_in;
use crate::programs::Run;
use crate::third_party::{Setup, built};
use cvhost::plugins::{Catalogue, Host, Search};
use cvhost_engine::registry::Registry;
use cvhost_plugin_api::abi::{DataSetBox, EvaluatorBox, TaskBox};
use cvhost_plugin_api::abi_stable::std_types::RSlice;
use cvhost_plugin_api::data::{Fields, Image, OpenArgs, Record, RecordArgs, Report};
use cvhost_plugin_api::sdk::EvaluatorArgs;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A task of the plugin with a folder for its runs.
pub struct Walk {
    pub setup: Setup,
    pub task: Task,
    name: &'static str,
}

/// A finished training run.
pub struct Trained {
    /// The `run_finished` event.
    pub event: Value,
    /// The run's folder.
    pub folder: PathBuf,
}

impl Walk {
    /// `data` and `training` are additional keys of these sections. Runs get one CPU: the networks
    /// are so small that a second thread would only add waiting time.
    pub fn new(name: &'static str, data: &str, training: &str) -> Walk {
        let yaml = |folder: &Path| {
            let folder = folder.display();
            format!(
                "model: {{model_name: {folder}/model, task_type: {name}, pretrained: false}}
data: {{train_data_path: {folder}, val_data_path: {folder}, num_workers: 1, {data}}}
training: {{gradient_clip: 1.0, resources_per_worker: {{CPU: 1}}, {training}}}
output: {{results_dir: {folder}/results, visualization: {{save_images: true, max_images: 6, confidence_threshold: 0.0}}}}
"
            )
        };
        let plugin = built("walks_plugin");
        let setup = Setup::new(&plugin, &json!({"model_type": name}), yaml);
        let task = Task::load(name);
        Walk { setup, task, name }
    }

    /// Trains, and checks what holds for every walk: the loss falls below `fraction` of its first
    /// value, and `images` images are drawn.
    pub fn train(&self, images: usize, fraction: f64) -> Trained {
        let run = self.setup.train(&[]).success();
        let event = run.last_event();
        assert_eq!(event["status"], "ok", "{event}");
        let epochs = run.events().into_iter().filter(|e| e["event"] == "epoch");
        let losses: Vec<f64> = epochs
            .map(|e| e["metrics"]["train_loss"].as_f64().unwrap())
            .collect();
        let (first, last) = (losses[0], *losses.last().unwrap());
        assert!(last < fraction * first, "the loss doesn't fall: {losses:?}");
        let folder = path_in(&event, "run_dir");
        // The task's own files are in the same folder.
        let mut drawn = files_in(&folder.join("pictures"));
        drawn.retain(|file| file.extension().is_some_and(|e| e == "jpg"));
        assert_eq!(drawn.len(), images, "{drawn:?}");
        for file in drawn {
            image::open(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        }
        Trained { event, folder }
    }

    /// Evaluates the last checkpoint of a training run, which must reproduce the metrics of its
    /// last validation.
    pub fn check_eval(&self, trained: &Trained) {
        let last = trained.checkpoint("last");
        let config = self.setup.config.to_str().unwrap();
        let eval = self
            .setup
            .cvhost(&["eval", "--config", config, "--checkpoint", &last])
            .success()
            .last_event();
        let (now, then) = (&eval["metrics"], &trained.event["metrics"]);
        for (metric, value) in now.as_object().unwrap() {
            let (a, b) = (value.as_f64().unwrap(), then[metric].as_f64().unwrap_or(f64::NAN));
            assert!(
                (a - b).abs() <= 1e-6 * (1.0 + b.abs()),
                "{metric}: {a} in eval, {b} in the run: {then}"
            );
        }
    }

    /// Runs `cvhost predict` on one image with the last checkpoint and returns the `prediction`
    /// event. `more` are additional arguments.
    pub fn predict(&self, trained: &Trained, image: &Image, more: &[&str]) -> Value {
        let file = self.save(image);
        self.predict_file(trained, &file, more).success().last_event()
    }

    pub fn predict_file(&self, trained: &Trained, file: &Path, more: &[&str]) -> Run {
        let (model, out) = (trained.checkpoint("last"), self.out());
        let out = out.to_str().unwrap();
        let arguments = [
            "predict",
            "--plugin",
            self.name,
            "--model",
            &model,
            "--out",
            out,
            file.to_str().unwrap(),
        ];
        self.setup.cvhost(&[&arguments, more].concat())
    }

    /// The folder for drawn predictions.
    pub fn out(&self) -> PathBuf {
        self.setup.folder.path().join("predicted")
    }

    /// Saves an image to a file.
    pub fn save(&self, image: &Image) -> PathBuf {
        let file = self.setup.folder.path().join("picture.png");
        let pixels = image.pixels.to_vec();
        image::RgbImage::from_raw(image.width, image.height, pixels)
            .unwrap()
            .save(&file)
            .unwrap();
        file
    }
}

impl Trained {
    pub fn metric(&self, name: &str) -> f64 {
        let value = self.event["metrics"][name].as_f64();
        value.unwrap_or_else(|| panic!("no `{name}` in {}", self.event))
    }

    /// Path of the checkpoint `last` or `best`.
    pub fn checkpoint(&self, which: &str) -> String {
        self.folder.join("checkpoints").join(which).display().to_string()
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    entries.map(|e| e.unwrap().path()).collect()
}

/// A task, loaded as the host loads it.
pub struct Task {
    task: TaskBox,
    // Keeps the task's plugin loaded.
    _registry: Registry,
}

impl Task {
    pub fn load(name: &str) -> Task {
        let search = Search {
            files: vec![built("walks_plugin")],
            folders: Vec::new(),
        };
        let registry = Registry::new(Catalogue::discover(&search, Host::this()).unwrap());
        let (task, _) = registry.task(name, &json!({})).unwrap();
        Task {
            task,
            _registry: registry,
        }
    }

    /// Opens the validation split, which has a quarter as many images as the `images` for training.
    pub fn open(&self, images: usize) -> DataSetBox {
        let args = OpenArgs {
            split: "val".into(),
            config: json!({"data": {"pictures": images}}),
            ..OpenArgs::default()
        };
        args.lend(|args| self.task.open(args)).into_result().unwrap()
    }

    pub fn evaluator(&self, data: &DataSetBox) -> EvaluatorBox {
        let spec = data.spec().into_result().unwrap();
        let args = EvaluatorArgs::new(&spec, json!({}));
        args.lend(|args| self.task.evaluator(args)).into_result().unwrap()
    }

    /// The report on the predictions that `predict` makes from each record.
    pub fn report(&self, data: &DataSetBox, predict: impl Fn(&Record) -> Fields) -> Report {
        let mut evaluator = self.evaluator(data);
        update(
            &mut evaluator,
            data,
            0..data.len().into_result().unwrap(),
            &predict,
        );
        evaluator.compute().into_result().unwrap()
    }

    /// Checks that evaluators that saw parts of the records, merged in another order, give a
    /// bit-identical report to one that saw all of them.
    pub fn check_merging(&self, data: &DataSetBox, predict: impl Fn(&Record) -> Fields) {
        let count = data.len().into_result().unwrap();
        assert!(count >= 6, "{count} records are too few to split");
        let mut merged = self.evaluator(data);
        update(&mut merged, data, count / 2..count - 1, &predict);
        for part in [count - 1..count, 0..count / 2] {
            let mut other = self.evaluator(data);
            update(&mut other, data, part, &predict);
            let state = other.state().into_result().unwrap();
            merged.merge(RSlice::from_slice(&state)).into_result().unwrap();
        }
        let (all, merged) = (
            self.report(data, &predict),
            merged.compute().into_result().unwrap(),
        );
        let bits = |r: &Report| -> Vec<(String, u64)> {
            r.scalars
                .iter()
                .map(|s| (s.name.to_string(), s.value.to_bits()))
                .collect()
        };
        assert_eq!(bits(&all), bits(&merged));
        assert_eq!(all.tables, merged.tables);
        let nonsense = merged_with_nonsense(self.evaluator(data));
        assert!(nonsense.contains("state"), "{nonsense}");
    }
}

fn merged_with_nonsense(mut evaluator: EvaluatorBox) -> String {
    let merged = evaluator.merge(RSlice::from_slice(b"nonsense")).into_result();
    merged.expect_err("nonsense was accepted as a state").to_string()
}

pub fn record(data: &DataSetBox, index: u64) -> Record {
    RecordArgs::at(index)
        .lend(|args| data.record(args))
        .into_result()
        .unwrap()
}

/// The image of a generated record.
pub fn image(record: &Record) -> &Image {
    &record.images[0].decoded
}

fn update(
    evaluator: &mut EvaluatorBox,
    data: &DataSetBox,
    indices: std::ops::Range<u64>,
    predict: &impl Fn(&Record) -> Fields,
) {
    for index in indices {
        let record = record(data, index);
        let (prediction, target) = ([predict(&record)], [record.fields]);
        let (prediction, target) = (RSlice::from_slice(&prediction), RSlice::from_slice(&target));
        evaluator
            .update(RSlice::from_slice(&[index]), prediction, target)
            .into_result()
            .unwrap();
    }
}

//! Short training runs of the built `cvhost`, as measured by the benches.

use super::flags::Flags;
use super::memory::watched;
use crate::sh;
use crate::workspace::{PROGRAMS, Workspace};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The environment in which training runs are measured.
pub struct Ground {
    pub workspace: Workspace,
    /// The folder for checkpoints and runs.
    pub work: PathBuf,
    pub python: PathBuf,
    pub images: PathBuf,
    pub annotations: PathBuf,
    /// Threads for libtorch's computations and for loading; by default the number of CPU cores.
    pub threads: u32,
    pub gpu: bool,
}

impl Ground {
    /// Parses the common options, and the bench's own options `own`, which take values.
    ///
    /// # Errors
    /// If an option is unknown, or its value is missing.
    pub fn flags(args: &[&str], own: &[&str]) -> Result<Flags> {
        let with_value = [&["--python", "--images", "--annotations", "--threads"], own].concat();
        Flags::parse(args, &with_value, &["--gpu"])
    }

    /// # Errors
    /// If an option's value is invalid, or cargo can't describe the workspace.
    pub fn new(flags: &Flags, name: &str) -> Result<Self> {
        let root = sh::root();
        let workspace = Workspace::load()?;
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        Ok(Ground {
            work: workspace.target.join(name),
            workspace,
            python: flags.path("--python", "python3"),
            images: flags.path("--images", root.join("examples/bccd/images/train")),
            annotations: flags.path(
                "--annotations",
                root.join("examples/bccd/annotations/instances_train.json"),
            ),
            threads: flags.number("--threads", cores)?,
            gpu: flags.has("--gpu"),
        })
    }

    /// A full-size checkpoint with random weights, created once; `model` is a name known to
    /// `peers/make_checkpoint.py`.
    ///
    /// # Errors
    /// If the peer's Python lacks a package.
    pub fn checkpoint(&self, model: &str) -> Result<PathBuf> {
        let folder = self.work.join(model);
        if !folder.join("model.safetensors").is_file() {
            let mut make = Command::new(&self.python);
            make.arg(sh::root().join("benches/peers/make_checkpoint.py"));
            sh::run(make.arg(model).arg(&folder))?;
        }
        Ok(folder)
    }

    /// Writes a configuration file with the peer's settings; `settings` are merged into it.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn config(&self, checkpoint: &Path, batch: u32, settings: &Value) -> Result<PathBuf> {
        let mut document = json!({
            "model": {"model_name": checkpoint, "task_type": "detection"},
            "data": {
                "train_data_path": self.images, "train_annotation_file": self.annotations,
                "batch_size": batch, "num_workers": self.threads, "augment": false,
            },
            "training": {
                "max_epochs": 1000, "learning_rate": 1e-4, "weight_decay": 1e-4, "gradient_clip": 0.1,
                "backbone_lr_scale": 1.0, "scheduler": "linear", "log_every_n_steps": 1,
                "precision": if self.gpu { "bf16" } else { "fp32" },
                "resources_per_worker": {"CPU": self.threads},
            },
            "output": {"results_dir": self.work.join("runs")},
        });
        merge(&mut document, settings);
        fs::create_dir_all(&self.work)?;
        let path = self.work.join("config.yaml");
        fs::write(&path, document.to_string())?; // JSON is YAML
        Ok(path)
    }

    /// Runs a training; the run's folder is removed afterwards unless `keep` is set.
    ///
    /// # Errors
    /// If the run fails or its results aren't as expected.
    pub fn train(&self, config: &Path, arguments: &[&str], keep: bool) -> Result<Trained> {
        let mut command = Command::new(self.workspace.program(PROGRAMS[0]));
        command.args(["run", "--json", "--quiet", "--config"]).arg(config);
        command.args(self.common_arguments()).args(arguments);
        command.env("OMP_NUM_THREADS", self.threads.to_string());
        let started = Instant::now();
        let watched = watched(&mut command)?;
        let seconds = started.elapsed().as_secs_f64();
        let events = lines(&watched.stdout)?;
        let finished = events.last().context("the run printed no event")?;
        let run = PathBuf::from(finished["run_dir"].as_str().context("the run has no folder")?);
        let text = fs::read_to_string(run.join("metrics.jsonl")).context("the run's metrics")?;
        let trained = Trained {
            metrics: lines(&text)?,
            events,
            seconds,
            memory: watched.peak_memory,
            run,
        };
        if !keep {
            fs::remove_dir_all(&trained.run)?;
        }
        Ok(trained)
    }

    /// Arguments of `cvhost` for plugins and device.
    pub fn common_arguments(&self) -> Vec<String> {
        let device = if self.gpu { "cuda:0" } else { "cpu" };
        let plugins = self.workspace.built.display().to_string();
        ["--plugins-dir", &plugins, "--device", device]
            .map(str::to_owned)
            .to_vec()
    }
}

/// The results of a training run.
pub struct Trained {
    pub run: PathBuf,
    /// The lines of `metrics.jsonl`.
    metrics: Vec<Value>,
    pub events: Vec<Value>,
    /// Wall-clock time of the whole process.
    pub seconds: f64,
    /// Peak memory of all processes in megabytes.
    pub memory: u64,
}

impl Trained {
    /// Seconds per step, without the first `warm` steps.
    pub fn steps(&self, warm: usize) -> Vec<f64> {
        let steps = self
            .metrics
            .iter()
            .filter_map(|line| line["step_seconds"].as_f64());
        steps.skip(warm).collect()
    }

    /// End times of the steps after the first `warm` ones, in milliseconds since 1970.
    pub fn step_times(&self, warm: usize) -> Vec<u64> {
        let steps = self.metrics.iter().filter(|line| !line["step_seconds"].is_null());
        steps
            .skip(warm)
            .filter_map(|line| line["time_ms"].as_u64())
            .collect()
    }
}

/// Parses JSON Lines.
///
/// # Errors
/// If a line isn't JSON.
pub fn lines(text: &str) -> Result<Vec<Value>> {
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("expected JSON, got {line:?}")))
        .collect()
}

fn merge(base: &mut Value, more: &Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, more) => *base = more.clone(),
    }
}

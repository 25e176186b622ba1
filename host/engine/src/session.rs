//! Sets up what the commands work with: configuration, plugins, data sets, and a model with its
//! weights.

use crate::registry::Registry;
use cvhost::cli::{self, ConfiguredArgs, Global, Split, Trial};
use cvhost::config::{Attention, DeviceName, Draft, Loaded, PreferredDevices, TrainingConfig};
use cvhost::error::{Error, Result};
pub use cvhost::output::shown;
use cvhost::plugin_error::{checked, checked_with};
use cvhost::plugins::{Catalogue, Host, Search, relevant};
use cvhost::progress::Downloads;
use cvhost_checkpoint::load::LoadOutcome;
use cvhost_checkpoint::{LoadPolicy, LoadReport, ModelFolder, labels, load_into};
use cvhost_data::{DataSetSource, Source};
use cvhost_hub::HubOptions;
use cvhost_hub::layout::CONFIG;
use cvhost_plugin_api::abi::{AdapterBox, EvaluatorBox, InputBox, TaskBox};
use cvhost_plugin_api::data::{LabelSpec, MetricInfo, OpenArgs, Severity};
use cvhost_plugin_api::sdk::{AdapterArgs, Checkpoint, EvaluatorArgs};
use cvhost_torch::network::{Network, device_name};
use cvhost_torch::precision::Format;
use cvhost_torch::shim;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use tch::Device;

/// Configuration, plugins and device: the part that needs neither data nor a model.
pub struct Session {
    pub loaded: Loaded,
    pub registry: Arc<Registry>,
    pub task: TaskBox,
    pub task_name: String,
    pub device: Device,
    /// Options of `run` for trials.
    pub trial: Trial,
    /// The keys of `model` that the task or an adapter declares.
    model_keys: Vec<String>,
}

impl Session {
    /// Finds the plugins, checks the configuration against them, and loads the task.
    pub fn open(
        global: &Global,
        draft: Draft,
        plugin: Option<&str>,
        plugin_files: &[PathBuf],
    ) -> Result<Self> {
        Self::with_plugins(find_plugins(global, plugin_files)?, global, draft, plugin)
    }

    /// Opens a session for a command with a configuration file. `changes` are overrides by the
    /// program in addition to the user's.
    pub fn configured(args: &ConfiguredArgs, global: &Global, changes: &[&str]) -> Result<Self> {
        let mut draft = Draft::read(&args.config, &args.overrides)?;
        for change in changes {
            draft.set_own(change)?;
        }
        Self::open(global, draft, args.plugin.as_deref(), &args.plugin_file)
    }

    /// Like [`Session::open`], but with plugins already discovered, so that several sessions of one
    /// process can share them.
    pub fn with_plugins(
        registry: Arc<Registry>,
        global: &Global,
        draft: Draft,
        plugin: Option<&str>,
    ) -> Result<Self> {
        let about = relevant(registry.catalogue(), &draft, plugin)?;
        let model_keys = about.model_keys();
        let mut loaded = draft.finish(&about.schemas)?;
        for warning in about.warnings.iter().chain(&loaded.warnings) {
            tracing::warn!("{warning}");
        }
        let task_name = about.task.ok_or_else(|| {
            let tasks: Vec<_> = registry
                .catalogue()
                .components("task")
                .map(|(_, c)| c.name.clone())
                .collect();
            Error::usage("no task is selected: neither --plugin nor `model.task_type` is set")
                .with_expected(format!("one of: {}", tasks.join(", ")))
        })?;
        if loaded.config.model.task_type.is_none() {
            // The task comes from the command line. A run resumed with its saved configuration has
            // no other source for it.
            loaded.decide("model.task_type", &json!(task_name))?;
        }
        let (task, provided) = registry.task(&task_name, &loaded.document)?;
        tracing::debug!("task `{task_name}` from {}", provided.file.display());
        let device = choose_device(global.device, &loaded)?;
        if let Some(threads) = loaded.config.training.resources_per_worker.cpu {
            let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
            if threads > cores {
                tracing::warn!(
                    "`training.resources_per_worker.CPU` is {threads}, but this machine has \
                     {cores} cores: libtorch uses {cores} threads"
                );
            }
            tch::set_num_threads(threads.min(cores) as i32);
        }
        Ok(Session {
            loaded,
            registry,
            task,
            task_name,
            device,
            trial: Trial::default(),
            model_keys,
        })
    }

    /// The path of a split's images, if configured.
    pub fn data_path(&self, split: Split) -> Option<&str> {
        let pointer = format!("/data/{}_data_path", split.name());
        self.loaded.document.pointer(&pointer).and_then(Value::as_str)
    }

    /// The arguments to open a split with the task. The image folder is empty if none is
    /// configured.
    pub fn open_args(&self, split: Split, checkpoint_classes: &[String]) -> OpenArgs {
        let name = split.name();
        let annotations = format!("/data/{name}_annotation_file");
        let annotations = self.loaded.document.pointer(&annotations).and_then(Value::as_str);
        OpenArgs {
            split: name.to_owned(),
            images: self.data_path(split).unwrap_or_default().to_owned(),
            annotations: annotations.unwrap_or_default().to_owned(),
            config: self.loaded.document.clone(),
            checkpoint_classes: checkpoint_classes.to_vec(),
            ..OpenArgs::default()
        }
    }

    /// Opens a split's data set. All problems of its annotations are logged; errors among them make
    /// it fail.
    pub fn data_set(&self, split: Split, checkpoint_classes: &[String]) -> Result<DataSetSource> {
        let name = split.name();
        let args = self.open_args(split, checkpoint_classes);
        if args.images.is_empty() {
            return Err(self
                .loaded
                .error_at(
                    "data",
                    format!(
                        "`data.{name}_data_path` is missing: the location of the {name} \
                             images is unknown"
                    ),
                )
                .with_help(if split == Split::Train {
                    format!("set data.{name}_data_path in the file or on the command line")
                } else {
                    format!(
                        "set data.{name}_data_path, or data.{name}_ratio to hold out a fraction \
                         of the training images"
                    )
                }));
        }
        let opened = args.lend(|args| checked_with(&self.loaded, self.task.open(args)));
        let within = |e: Error| e.within(format!("{name} data"));
        let data_set = DataSetSource::new(opened.map_err(within)?).map_err(within)?;
        self.check_form(data_set.spec()).map_err(within)?;
        let mut errors = Vec::new();
        for problem in checked(data_set.data_set().problems())? {
            if problem.severity == Severity::ERROR {
                errors.push(problem.message.into_string());
            } else {
                tracing::warn!("{name} data: {}", problem.message);
            }
        }
        if !errors.is_empty() {
            return Err(Error::input(format!("the {name} data can't be used")).with_details(errors));
        }
        if data_set.is_empty() {
            return Err(Error::input(format!("the {name} data has no images"))
                .with_expected(format!("at least one in {}", args.images))
                .with_help(format!(
                    "check data.{name}_data_path and data.{name}_annotation_file"
                )));
        }
        Ok(data_set)
    }

    /// The model folder to start training from: `model.model_name`, downloaded if necessary, with
    /// the user's `model_kwargs` merged in and with the preprocessing of `data.model_name`, if set.
    pub fn starting_folder(&self) -> Result<ModelFolder> {
        self.starting_folder_from(&HubOptions::from_env(), self.loaded.config.model.pretrained)
    }

    /// Like [`Session::starting_folder`], but only uses local files: nothing is downloaded, and no
    /// weights are needed.
    pub fn local_starting_folder(&self) -> Result<ModelFolder> {
        let offline = HubOptions {
            offline: true,
            ..HubOptions::from_env()
        };
        self.starting_folder_from(&offline, false)
    }

    fn starting_folder_from(&self, hub: &HubOptions, with_weights: bool) -> Result<ModelFolder> {
        let config = &self.loaded.config;
        let mut folder = self.folder_from(hub, &config.model.model_name, with_weights)?;
        merge(
            &mut folder.config,
            &Value::Object(config.model.model_kwargs.clone()),
        );
        if let Some(other) = &config.data.model_name {
            folder.preprocessor = self.folder_from(hub, other, false)?.preprocessor;
        }
        Ok(folder)
    }

    /// Resolves `name` (a folder or a hub id), downloads it if necessary, and reads its JSON files.
    pub fn model_folder(&self, name: &str, with_weights: bool) -> Result<ModelFolder> {
        self.folder_from(&HubOptions::from_env(), name, with_weights)
    }

    fn folder_from(&self, hub: &HubOptions, name: &str, with_weights: bool) -> Result<ModelFolder> {
        let downloads = Downloads::default();
        let report = |p: cvhost_hub::Progress<'_>| downloads.report(p.file, p.done, p.total);
        let resolved = cvhost_hub::resolve(name, hub, &report)?;
        if let Some(note) = &resolved.note {
            tracing::warn!("{note}");
        }
        if with_weights {
            ModelFolder::open(&resolved.path)
        } else {
            ModelFolder::open_without_weights(&resolved.path)
        }
    }

    /// Creates the adapter for the model family of the folder.
    pub fn adapter(&self, folder: &ModelFolder) -> Result<AdapterBox> {
        let model_type = folder
            .config
            .get("model_type")
            .and_then(Value::as_str)
            .ok_or_else(|| {
                Error::input(format!(
                    "{} has no `model_type`",
                    folder.path.join("config.json").display()
                ))
                .with_expected(
                    "the config.json of a Hugging Face checkpoint, which contains its model family",
                )
            })?;
        let form = checked(self.task.form())?;
        let choice = self.loaded.config.model.adapter.clone();
        let (adapter, provided) = self
            .registry
            .adapter(&form, model_type, choice.as_deref(), &self.loaded.document)
            .map_err(|e| e.within(folder.path.display().to_string()))?;
        tracing::info!(
            "adapter `{}` of {} {}",
            provided.name,
            provided.plugin,
            provided.version
        );
        Ok(adapter)
    }

    /// Creates only the adapter's input side, which needs no weights.
    pub fn input(&self, folder: &ModelFolder, spec: &LabelSpec) -> Result<InputBox> {
        self.input_with(&self.adapter(folder)?, folder, &self.loaded.document, spec)
    }

    /// Creates an adapter's input side with a configuration other than the session's own.
    pub fn input_with(
        &self,
        adapter: &AdapterBox,
        folder: &ModelFolder,
        config: &Value,
        spec: &LabelSpec,
    ) -> Result<InputBox> {
        let checkpoint = checkpoint_of(folder);
        let args = AdapterArgs::new(&checkpoint, config, spec);
        args.lend(|args| checked_with(&self.loaded, adapter.input(args)))
    }

    /// Creates the adapter's input side and its network for these labels, with the folder's
    /// weights, in the configured precision. `from_scratch` ignores the weights.
    pub fn model(&self, folder: &ModelFolder, spec: &LabelSpec, from_scratch: bool) -> Result<Model> {
        let format = Format::choose(&self.loaded, self.device)?;
        shim::fuse_attention(self.loaded.config.training.attention == Attention::Auto)?;
        let adapter = self.adapter(folder)?;
        let checkpoint = checkpoint_of(folder);
        let args = AdapterArgs::new(&checkpoint, &self.loaded.document, spec);
        let input = args.lend(|args| checked_with(&self.loaded, adapter.input(args)))?;
        let model = args.lend(|args| checked_with(&self.loaded, adapter.model(args)))?;
        let mut network = Network::new(model)?;
        let report = load_weights(&mut network, folder, from_scratch)?;
        network.to_device(self.device)?;
        network.set_format(format);
        Ok(Model {
            input: Arc::new(input),
            network,
            report,
        })
    }

    /// Like [`Session::model`], for a checkpoint that is used without training. Refuses a
    /// checkpoint whose head doesn't match these labels, since its predictions would be random.
    pub fn trained_model(&self, folder: &ModelFolder, spec: &LabelSpec) -> Result<Model> {
        let model = self.model(folder, spec, false)?;
        if model.report.count(LoadOutcome::Reinitialised) == 0 {
            return Ok(model);
        }
        Err(Error::input(format!(
            "{} has no trained head for {} classes",
            shown(&folder.path),
            spec.names.len()
        ))
        .with_details(model.report.to_string().lines().map(str::to_owned).collect())
        .with_expected("a checkpoint that was trained for this task and these classes")
        .with_help("train it first with `cvhost run`, which gives it a new head"))
    }

    /// Post-processing options: the minimum score, and the keys of `model` that a plugin in use
    /// declares.
    pub fn finish_options(&self, threshold: f64) -> Value {
        let mut options = self.declared_options();
        options["threshold"] = json!(threshold);
        options
    }

    /// The keys of `model` that the task or an adapter declares in its schema, with their values.
    pub fn declared_options(&self) -> Value {
        let value = |key: &String| {
            let value = self.loaded.document.pointer("/model")?.get(key)?;
            (!value.is_null()).then(|| (key.clone(), value.clone()))
        };
        Value::Object(self.model_keys.iter().filter_map(value).collect())
    }

    /// Refuses a data set whose labels have another form than the task.
    pub fn check_form(&self, spec: &LabelSpec) -> Result<()> {
        let form = checked(self.task.form())?;
        if spec.form == form.as_str() {
            return Ok(());
        }
        Err(Error::failed(format!(
            "the task `{}` has the form `{form}`, but its data set has labels of the form `{}`",
            self.task_name, spec.form
        ))
        .with_help("this is a bug in the task plugin; report it to its authors"))
    }

    /// The metrics of the task.
    pub fn metrics(&self) -> Result<Vec<MetricInfo>> {
        Ok(checked(self.task.metrics())?.into_vec())
    }

    /// Creates an evaluator. `save_predictions` requests an artifact with all predictions.
    pub fn evaluator(&self, spec: &LabelSpec, save_predictions: bool) -> Result<EvaluatorBox> {
        let mut config = self.loaded.document.clone();
        config["evaluation"] = json!({"save_predictions": save_predictions});
        let args = EvaluatorArgs::new(spec, config);
        args.lend(|args| checked(self.task.evaluator(args)))
    }
}

/// Describes a model folder to adapters.
fn checkpoint_of(folder: &ModelFolder) -> Checkpoint {
    Checkpoint {
        folder: std::path::absolute(&folder.path).unwrap_or_else(|_| folder.path.clone()),
        config: folder.config.clone(),
        preprocessor: folder.preprocessor.clone(),
        extra: Value::Null,
    }
}

/// Discovers all plugins that a command may use and logs warnings about them.
pub fn find_plugins(global: &Global, plugin_files: &[PathBuf]) -> Result<Arc<Registry>> {
    let catalogue = Catalogue::discover(&Search::usual(&global.plugins_dir, plugin_files), Host::this())?;
    for warning in &catalogue.warnings {
        tracing::warn!("{warning}");
    }
    Ok(Registry::shared(catalogue))
}

/// A model ready for use: input side, network with weights, and the report of loading them.
pub struct Model {
    pub input: Arc<InputBox>,
    pub network: Network,
    pub report: LoadReport,
}

impl Model {
    /// The `preprocessor_config.json` to save.
    pub fn preprocessor(&self) -> Result<Value> {
        let text = checked(self.input.config_json())?;
        serde_json::from_str(&text).map_err(|e| {
            Error::failed(format!(
                "the adapter's preprocessor_config.json is not valid JSON: {e}"
            ))
        })
    }
}

/// Loads the folder's weights into a network. Missing parameters, or all parameters when training
/// from scratch, are initialised by the model's own rules.
fn load_weights(network: &mut Network, folder: &ModelFolder, from_scratch: bool) -> Result<LoadReport> {
    if from_scratch {
        network.initialise_all()?;
        return Ok(LoadReport::from_scratch(network.parameters()));
    }
    let report = load_into(network.parameters(), &folder.weights()?, LoadPolicy::default())?;
    network.initialise(&report.to_initialise)?;
    if let Some(warning) = report.warning() {
        tracing::warn!("{warning}");
    }
    Ok(report)
}

/// The labels that a checkpoint was trained with, for prediction without a data set.
pub fn checkpoint_spec(form: &str, folder: &ModelFolder) -> Result<LabelSpec> {
    labels::recall(&folder.config, form).map_err(|e| e.within(folder.path.join(CONFIG).display().to_string()))
}

/// Fails if the data has other classes than the training data or the checkpoint.
pub fn same_classes(expected: &LabelSpec, found: &LabelSpec, what: &str) -> Result<()> {
    if expected.names == found.names {
        return Ok(());
    }
    let list = |spec: &LabelSpec| {
        spec.names
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    Err(
        Error::input(format!("the classes of the {what} differ: {}", list(found)))
            .with_expected(list(expected))
            .with_help(
                "use annotations with the same categories, or set `model.class_names` to their common list",
            ),
    )
}

fn choose_device(asked: cli::Device, loaded: &Loaded) -> Result<Device> {
    let training = &loaded.config.training;
    let count = tch::Cuda::device_count().max(0) as usize;
    let wanted = match asked {
        cli::Device::Auto => configured_device(training),
        explicit => explicit,
    };
    let device = match wanted {
        cli::Device::Cpu => Device::Cpu,
        cli::Device::Cuda(index) if index < count => Device::Cuda(index),
        cli::Device::Cuda(index) if asked == cli::Device::Auto => {
            tracing::warn!(
                "the configuration asks for GPU {index}, but libtorch finds {count} GPUs; using \
                 the CPU instead"
            );
            Device::Cpu
        }
        cli::Device::Cuda(index) => {
            return Err(
                Error::environment(format!("--device cuda:{index}: libtorch finds {count} GPUs"))
                    .with_help("`cvhost doctor` shows which libtorch is used; one without CUDA finds no GPU"),
            );
        }
        cli::Device::Auto if count > 0 => Device::Cuda(0),
        cli::Device::Auto => Device::Cpu,
    };
    tracing::debug!("device {}", device_name(device));
    Ok(device)
}

/// Combines `use_gpu`, `preferred_devices` and `resources_per_worker.GPU`.
fn configured_device(training: &TrainingConfig) -> cli::Device {
    let no_gpu = training.use_gpu == Some(false) || training.resources_per_worker.gpu == Some(0);
    let preferred = match &training.preferred_devices {
        Some(PreferredDevices::Name(DeviceName::Cpu)) => Some(cli::Device::Cpu),
        Some(PreferredDevices::Name(DeviceName::Gpu | DeviceName::Cuda) | PreferredDevices::Count(_)) => {
            Some(cli::Device::Cuda(0))
        }
        Some(PreferredDevices::Indices(indices)) => indices.first().map(|i| cli::Device::Cuda(*i as usize)),
        Some(PreferredDevices::Name(DeviceName::Auto)) | None => None,
    };
    match preferred {
        _ if no_gpu => cli::Device::Cpu,
        Some(device) => device,
        None if training.use_gpu == Some(true) => cli::Device::Cuda(0),
        None => cli::Device::Auto,
    }
}

/// Merges `more` into `base`; objects are merged recursively.
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

//! All configuration keys of the host, with type, meaning and default. The JSON Schema that a file
//! is checked against is derived from these structures; plugins add their own keys to it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::augmentations::Augmentations;
use super::batching::{BatchSize, BrokenFiles, LastBatch, Sampling};
use super::values::{
    Attention, EmaConfig, ImageSize, MonitorMode, NanPolicy, OptimizerKind, OptimizerParams, Precision,
    PreferredDevices, Resources, Scheduler, SchedulerParams, Visualization, results_dir,
};

/// A complete configuration. After [`Config::load`] it is resolved: keys allowed in two sections
/// are in one place.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    pub model: ModelConfig,
    pub data: DataConfig,
    pub training: TrainingConfig,
    /// Loggers by name, each with its own keys; false disables one that is enabled by default.
    pub loggers: Map<String, Value>,
    /// The same as `loggers.mlflow`; moved there when the file is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mlflow: Option<MlflowConfig>,
    pub output: OutputConfig,
}

/// Section `model`: the model to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["model_name"]))]
pub struct ModelConfig {
    /// The checkpoint to start from: a folder with config.json and model.safetensors, or a hub id.
    #[schemars(length(min = 1))]
    pub model_name: String,
    /// Name of the task, as declared by its plugin; equivalent to `--plugin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_type: Option<String>,
    /// Number of classes; by default taken from the data, and checked against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub num_classes: Option<u32>,
    /// Class names in the order of their ids; by default those of the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_names: Option<Vec<String>>,
    /// Start from the checkpoint's weights; `false` uses only its config.json.
    pub pretrained: bool,
    /// The same as `data.image_size`; moved there when the file is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<ImageSize>,
    /// The same as `training.learning_rate`; moved there when the file is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub learning_rate: Option<f64>,
    /// The same as `training.weight_decay`; moved there when the file is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub weight_decay: Option<f64>,
    /// The same as `training.scheduler`; moved there when the file is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// The same as `training.scheduler_params`; moved there when the file is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler_params: Option<SchedulerParams>,
    /// The same as `training.max_epochs`; moved there when the file is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub epochs: Option<u32>,
    /// Mixup: training images and their classes are blended in pairs, with a weight drawn from
    /// Beta(alpha, alpha); 0 disables it.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub mixup_alpha: f64,
    /// CutMix: a rectangle of each training image is replaced by that of its partner, with an area
    /// fraction drawn from Beta(alpha, alpha); 0 disables it. Together with `mixup_alpha`, each
    /// batch uses one of the two at random.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub cutmix_alpha: f64,
    /// Merged into the checkpoint's config.json before the model is built.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub model_kwargs: Map<String, Value>,
    /// Name of the adapter; by default the one for the checkpoint's `model_type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
}

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig {
            model_name: String::new(),
            task_type: None,
            num_classes: None,
            class_names: None,
            pretrained: true,
            image_size: None,
            learning_rate: None,
            weight_decay: None,
            scheduler: None,
            scheduler_params: None,
            epochs: None,
            mixup_alpha: 0.0,
            cutmix_alpha: 0.0,
            model_kwargs: Map::new(),
            adapter: None,
        }
    }
}

/// Section `data`: the data and how it is loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DataConfig {
    /// The folder of the training images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_data_path: Option<PathBuf>,
    /// The folder of the validation images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_data_path: Option<PathBuf>,
    /// The folder of the test images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_data_path: Option<PathBuf>,
    /// The training annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_annotation_file: Option<PathBuf>,
    /// The validation annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_annotation_file: Option<PathBuf>,
    /// The test annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_annotation_file: Option<PathBuf>,
    /// Fraction of the training images held out for validation if there is no `val_data_path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.9))]
    pub val_ratio: Option<f64>,
    /// Fraction of the training images held out for testing if there is no `test_data_path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.9))]
    pub test_ratio: Option<f64>,
    /// Seed for choosing the images held out by `val_ratio` and `test_ratio`, independent of
    /// `training.seed`.
    pub split_seed: u64,
    /// Images per forward pass; with `auto`, `run` finds the largest power of two that fits into
    /// memory.
    pub batch_size: BatchSize,
    /// Number of worker threads that load and preprocess images; by default the number of cores, at
    /// most 8. 0 loads them synchronously, without workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 256))]
    pub num_workers: Option<u32>,
    /// Maximum number of batches that are ready or being prepared; by default one more than
    /// `num_workers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub prefetch: Option<u32>,
    /// Timeout for a batch in seconds, after which the run ends with an error naming its images; 0
    /// waits indefinitely.
    pub loader_timeout: u64,
    /// Memory for caching decoded images across epochs, in megabytes; 0 disables the cache.
    pub cache_mb: u64,
    /// In training, decode large JPEGs at a half, a quarter or an eighth of their size as long as
    /// the model's input is not larger: faster, with slightly different pixels. Never used in
    /// evaluation and prediction.
    pub scaled_decode: bool,
    /// What happens when an image can't be read.
    pub broken_files: BrokenFiles,
    /// How training images are sampled.
    pub sampling: Sampling,
    /// For `sampling: repeat_factor`: classes that occur in less than this fraction of the images
    /// are repeated.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub repeat_threshold: f64,
    /// Batch portrait and landscape training images separately to reduce padding.
    pub group_by_aspect_ratio: bool,
    /// How a last batch with fewer training images than the others is handled.
    pub last_batch: LastBatch,
    /// Source of preprocessor_config.json: a folder or a hub id; by default `model.model_name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_name: Option<String>,
    /// `[height, width]`, or one number for a square; by default from preprocessor_config.json.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<ImageSize>,
    /// Mean of red, green and blue for pixel values from 0 to 1; by default from
    /// preprocessor_config.json.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalize_mean: Option<[f64; 3]>,
    /// Standard deviation of red, green and blue for pixel values from 0 to 1; by default from
    /// preprocessor_config.json.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(inner(range(min = 0.0001)))]
    pub normalize_std: Option<[f64; 3]>,
    /// Whether training images are augmented.
    pub augment: bool,
    /// The augmentations of training images; by default a horizontal flip with probability 0.5.
    pub augmentations: Augmentations,
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig {
            train_data_path: None,
            val_data_path: None,
            test_data_path: None,
            train_annotation_file: None,
            val_annotation_file: None,
            test_annotation_file: None,
            val_ratio: None,
            test_ratio: None,
            split_seed: 42,
            batch_size: BatchSize::Number(BatchSize::USUAL),
            num_workers: None,
            prefetch: None,
            loader_timeout: 600,
            cache_mb: 0,
            scaled_decode: false,
            broken_files: BrokenFiles::Error,
            sampling: Sampling::Natural,
            repeat_threshold: 0.001,
            group_by_aspect_ratio: false,
            last_batch: LastBatch::Keep,
            model_name: None,
            image_size: None,
            normalize_mean: None,
            normalize_std: None,
            augment: true,
            augmentations: Augmentations::usual(),
        }
    }
}

/// Section `training`: how the model is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TrainingConfig {
    /// Maximum number of epochs.
    #[schemars(range(min = 1))]
    pub max_epochs: u32,
    /// Maximum number of optimizer steps; by default limited only by `max_epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_steps: Option<u64>,
    /// The learning rate after the warmup.
    #[schemars(range(min = 0.0))]
    pub learning_rate: f64,
    /// The optimizer.
    pub optimizer: OptimizerKind,
    pub optimizer_params: OptimizerParams,
    /// Weight decay of the optimizer; not applied to normalization layers and biases.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// The learning rate schedule after the warmup.
    pub scheduler: Scheduler,
    pub scheduler_params: SchedulerParams,
    /// Number of epochs without improvement of `monitor_metric` after which training stops; by
    /// default never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub early_stopping_patience: Option<u32>,
    /// The metric that decides which checkpoint is best, such as val_loss or val_map.
    pub monitor_metric: String,
    /// Whether a smaller or a larger value is better; by default the metric's own direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor_mode: Option<MonitorMode>,
    /// Folder for checkpoints; by default in the run folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_dir: Option<PathBuf>,
    /// A second folder to which every checkpoint is copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_checkpoint_dir: Option<PathBuf>,
    /// Number of best checkpoints retained in addition to the last one; -1 retains all.
    #[schemars(range(min = -1))]
    pub save_top_k: i32,
    /// Also save a checkpoint every N steps, in addition to those at the end of each epoch; by
    /// default never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub save_every_n_steps: Option<u64>,
    /// Save a checkpoint when the last one is older than N minutes; by default never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01))]
    pub save_every_minutes: Option<f64>,
    /// What happens when a loss or its gradients are NaN or infinite.
    pub nan_policy: NanPolicy,
    /// Number of validation batches evaluated before training, to detect errors early; 0 for none.
    pub sanity_batches: u32,
    /// Seconds after SIGTERM within which the checkpoint must be written; then the run is forced to
    /// exit.
    #[schemars(range(min = 1))]
    pub stop_within: u64,
    /// Log the training loss every N steps.
    #[schemars(range(min = 1))]
    pub log_every_n_steps: u32,
    /// Training on several devices; not supported yet.
    pub distributed: bool,
    /// Training on a Ray cluster; not supported.
    pub use_ray: bool,
    /// Number of ranks; more than one is not supported yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub num_workers: Option<u32>,
    /// Train on a GPU; by default if there is one. `true` without a GPU prints a warning and
    /// continues on the CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_gpu: Option<bool>,
    pub resources_per_worker: Resources,
    /// Rendezvous port of the ranks; only for training on several devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub master_port: Option<u32>,
    /// Parallelization strategy; only for training on several devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_strategy: Option<String>,
    /// The GPU to use: auto, cpu, gpu, 1, or a list with its index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_devices: Option<PreferredDevices>,
    /// Numeric precision of the forward and backward passes, also in `eval`.
    pub precision: Precision,
    /// The attention implementation, also in evaluation.
    pub attention: Attention,
    /// Maximum global norm of the gradients; null or 0 disables clipping.
    #[schemars(range(min = 0.0))]
    pub gradient_clip: Option<f64>,
    /// Maximum absolute value of each gradient element; null or 0 disables it. Applied before
    /// `gradient_clip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub gradient_clip_value: Option<f64>,
    /// Number of batches whose gradients are accumulated per optimizer step.
    #[schemars(range(min = 1))]
    pub accumulate: u32,
    /// Maintain an exponential moving average of the weights, which is evaluated and saved instead.
    pub ema: EmaConfig,
    /// Warmup steps, during which the learning rate rises from 0; a value below 1 is a fraction of
    /// the training.
    #[schemars(range(min = 0.0))]
    pub warmup: f64,
    /// Learning rate of the backbone, as a factor on `learning_rate`.
    #[schemars(range(min = 0.0))]
    pub backbone_lr_scale: f64,
    /// Layer-wise learning rate decay: each layer's learning rate is that of the next deeper one
    /// times this factor; 1 disables it.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub layer_decay: f64,
    /// Epoch (counted from 0) from which the parameters in `freeze` are trained too; by default
    /// never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub unfreeze_at_epoch: Option<u32>,
    /// Parameters that are not trained: name patterns, where `*` matches anything.
    pub freeze: Vec<String>,
    /// Random seed; runs with the same seed see the same data in the same order.
    pub seed: u64,
    /// Use only bitwise deterministic algorithms where libtorch has them; slower.
    pub deterministic: bool,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        TrainingConfig {
            max_epochs: 10,
            max_steps: None,
            learning_rate: 1e-4,
            optimizer: OptimizerKind::AdamW,
            optimizer_params: OptimizerParams::default(),
            weight_decay: 1e-4,
            scheduler: Scheduler::Cosine,
            scheduler_params: SchedulerParams::default(),
            early_stopping_patience: None,
            monitor_metric: "val_loss".to_owned(),
            monitor_mode: None,
            checkpoint_dir: None,
            volume_checkpoint_dir: None,
            save_top_k: 1,
            save_every_n_steps: None,
            save_every_minutes: None,
            nan_policy: NanPolicy::Stop,
            sanity_batches: 2,
            stop_within: 25,
            log_every_n_steps: 10,
            distributed: false,
            use_ray: false,
            num_workers: None,
            use_gpu: None,
            resources_per_worker: Resources::default(),
            master_port: None,
            preferred_strategy: None,
            preferred_devices: None,
            precision: Precision::Fp32,
            attention: Attention::Auto,
            gradient_clip: Some(0.1),
            gradient_clip_value: None,
            accumulate: 1,
            ema: EmaConfig::Switch(false),
            warmup: 0.0,
            backbone_lr_scale: 0.1,
            layer_decay: 1.0,
            unfreeze_at_epoch: None,
            freeze: Vec::new(),
            seed: 42,
            deterministic: false,
        }
    }
}

/// Section `mlflow`, equivalent to `loggers.mlflow`. The MLflow logger plugin may add keys.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MlflowConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_name: Option<String>,
    /// Whether the trained model is uploaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_model: Option<bool>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub tags: Map<String, Value>,
}

/// Section `output`: the output of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OutputConfig {
    /// The folder in which each run creates its own folder.
    pub results_dir: PathBuf,
    /// Write the predictions of the last evaluation.
    pub save_predictions: bool,
    pub visualization: Visualization,
}

impl Default for OutputConfig {
    fn default() -> Self {
        OutputConfig {
            results_dir: results_dir(),
            save_predictions: false,
            visualization: Visualization::default(),
        }
    }
}

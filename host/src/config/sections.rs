//! Every key that the host itself understands, with its type, meaning and default. The JSON Schema that a file is checked
//! against is derived from these structures; plugins add their own keys to it.

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

/// A whole configuration. After [`Config::load`] it is resolved: what stands in two sections is in one place.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    pub model: ModelConfig,
    pub data: DataConfig,
    pub training: TrainingConfig,
    /// Each logger by name, with its own keys; false switches one off that would be on.
    pub loggers: Map<String, Value>,
    /// The same as `loggers.mlflow`; moved there when the file is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mlflow: Option<MlflowConfig>,
    pub output: OutputConfig,
}

/// Section `model`: what is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["model_name"]))]
pub struct ModelConfig {
    /// The checkpoint to start from: a folder with config.json and model.safetensors, or a hub id.
    #[schemars(length(min = 1))]
    pub model_name: String,
    /// The task, by the name that its plugin gives it; `--plugin` says the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_type: Option<String>,
    /// How many classes; by default as many as the data has, and checked against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub num_classes: Option<u32>,
    /// The classes' names in the order of their ids; by default the data's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_names: Option<Vec<String>>,
    /// Start from the checkpoint's weights; `false` takes only its config.json.
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
    /// Mixup: training images and their classes are blended in pairs, with a weight from Beta(alpha, alpha); 0 is off.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub mixup_alpha: f64,
    /// CutMix: a rectangle of each training image comes from its partner, its part from Beta(alpha, alpha); 0 is off. With
    /// `mixup_alpha`, each batch takes one of the two by chance.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub cutmix_alpha: f64,
    /// Merged into the checkpoint's config.json before the model is built.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub model_kwargs: Map<String, Value>,
    /// The adapter to use, by name; by default the one that serves the checkpoint's `model_type`.
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

/// Section `data`: what it is trained with.
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
    /// The part of the training images that is set aside for validation, where there is no `val_data_path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.9))]
    pub val_ratio: Option<f64>,
    /// The part of the training images that is set aside as test images, where there is no `test_data_path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.9))]
    pub test_ratio: Option<f64>,
    /// Decides which images `val_ratio` and `test_ratio` set aside; `training.seed` doesn't.
    pub split_seed: u64,
    /// Images in one forward pass; `auto`: `run` finds the largest power of two that the memory suffices for.
    pub batch_size: BatchSize,
    /// Threads that read and prepare images; by default as many as there are cores, up to 8. 0 prepares them in between.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 256))]
    pub num_workers: Option<u32>,
    /// The most batches that wait for the model or are in the making; by default one more than `num_workers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub prefetch: Option<u32>,
    /// When a batch takes longer than so many seconds the run ends with an error that names its images; 0 waits for ever.
    pub loader_timeout: u64,
    /// Decoded images are kept in up to so many megabytes of memory for the next epochs; 0 keeps none.
    pub cache_mb: u64,
    /// Large JPEGs are decoded at a half, a quarter or an eighth of their size for training, where the model's input is not
    /// larger: faster, with pixels that differ a little. Evaluation and prediction never do so.
    pub scaled_decode: bool,
    /// What happens when an image can't be read.
    pub broken_files: BrokenFiles,
    /// Which training images come more often than others.
    pub sampling: Sampling,
    /// Of `sampling: repeat_factor`: classes that fewer than this part of the images have are repeated.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub repeat_threshold: f64,
    /// Upright and wide training images get batches of their own, so that less is padded.
    pub group_by_aspect_ratio: bool,
    /// What becomes of a last batch that has fewer training images than the others.
    pub last_batch: LastBatch,
    /// Where preprocessor_config.json is taken from: a folder or a hub id; by default `model.model_name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_name: Option<String>,
    /// `[height, width]`, or one number for a square; by default what preprocessor_config.json says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<ImageSize>,
    /// Mean of red, green and blue for pixels from 0 to 1; by default what preprocessor_config.json says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalize_mean: Option<[f64; 3]>,
    /// Standard deviation of red, green and blue for pixels from 0 to 1; by default what preprocessor_config.json says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(inner(range(min = 0.0001)))]
    pub normalize_std: Option<[f64; 3]>,
    /// Whether training images are changed at random.
    pub augment: bool,
    /// How training images are changed; by default every other one is mirrored.
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
            last_batch: LastBatch::RetentionPolicy,
            model_name: None,
            image_size: None,
            normalize_mean: None,
            normalize_std: None,
            augment: true,
            augmentations: Augmentations::usual(),
        }
    }
}

/// Section `training`: how it is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TrainingConfig {
    /// The most passes over the training images.
    #[schemars(range(min = 1))]
    pub max_epochs: u32,
    /// The most optimizer steps; by default no limit but `max_epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_steps: Option<u64>,
    /// The learning rate after the warmup.
    #[schemars(range(min = 0.0))]
    pub learning_rate: f64,
    /// What makes steps of gradients.
    pub optimizer: OptimizerKind,
    pub optimizer_params: OptimizerParams,
    /// The optimizer's weight decay; norms and biases have none.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// How the learning rate goes on after the warmup.
    pub scheduler: Scheduler,
    pub scheduler_params: SchedulerParams,
    /// Stop after so many epochs without a better `monitor_metric`; by default never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub early_stopping_patience: Option<u32>,
    /// The metric that decides which checkpoint is best, such as val_loss or val_map.
    pub monitor_metric: String,
    /// Whether a smaller or a larger value is better; by default the metric's own direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor_mode: Option<MonitorMode>,
    /// Where checkpoints go; by default into the run's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_dir: Option<PathBuf>,
    /// A second folder that every checkpoint is copied to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_checkpoint_dir: Option<PathBuf>,
    /// How many of the best checkpoints are kept beside the last one; -1 keeps all.
    #[schemars(range(min = -1))]
    pub save_top_k: i32,
    /// Save a checkpoint every so many steps, too, beside those at the ends of epochs; by default never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub save_every_n_steps: Option<u64>,
    /// Save a checkpoint when the last one is older than so many minutes; by default never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01))]
    pub save_every_minutes: Option<f64>,
    /// What happens when a loss or its gradients are NaN or infinite.
    pub nan_policy: NanPolicy,
    /// Batches of validation data that are evaluated before training, so that a fault there is found at once; 0 for none.
    pub sanity_batches: u32,
    /// After SIGTERM the run is ended when its checkpoint isn't written in so many seconds.
    #[schemars(range(min = 1))]
    pub stop_within: u64,
    /// Log the training loss every so many steps.
    #[schemars(range(min = 1))]
    pub log_every_n_steps: u32,
    /// Training on several devices; does not exist yet.
    pub distributed: bool,
    /// Training on a Ray cluster; does not exist.
    pub use_ray: bool,
    /// How many ranks train together; more than one does not exist yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub num_workers: Option<u32>,
    /// Train on a GPU; by default when there is one. `true` without a GPU warns and goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_gpu: Option<bool>,
    pub resources_per_worker: Resources,
    /// The port where ranks meet; only for training on several devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub master_port: Option<u32>,
    /// How ranks share the work; only for training on several devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_strategy: Option<String>,
    /// Which GPU: auto, cpu, gpu, 1, or a list with its index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_devices: Option<PreferredDevices>,
    /// The number format of forward and backward passes, in `eval` too.
    pub precision: Precision,
    /// How attention is computed, in evaluation, too.
    pub attention: Attention,
    /// The largest norm of all gradients together; null or 0 doesn't clip.
    #[schemars(range(min = 0.0))]
    pub gradient_clip: Option<f64>,
    /// The largest value of each gradient by itself; null or 0 doesn't clip. It comes before `gradient_clip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub gradient_clip_value: Option<f64>,
    /// Batches whose gradients are added up for one optimizer step.
    #[schemars(range(min = 1))]
    pub accumulate: u32,
    /// RetentionPolicy a moving average of the weights, which is what is evaluated and saved.
    pub ema: EmaConfig,
    /// Steps in which the learning rate rises from 0, or, below 1, that part of the training.
    #[schemars(range(min = 0.0))]
    pub warmup: f64,
    /// The backbone's learning rate as a factor on `learning_rate`.
    #[schemars(range(min = 0.0))]
    pub backbone_lr_scale: f64,
    /// Each layer's learning rate is that of the next deeper one times this (layer-wise decay); 1 switches it off.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub layer_decay: f64,
    /// From this epoch on (the first is 0) what `freeze` names is trained, too; by default never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub unfreeze_at_epoch: Option<u32>,
    /// Parameters that are not trained: name patterns, where `*` stands for anything.
    pub freeze: Vec<String>,
    /// Two runs with the same seed see the same data in the same order.
    pub seed: u64,
    /// Only algorithms that give the same bits each time, where libtorch has them; slower.
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

/// Section `mlflow`, the same as `loggers.mlflow`. The plugin that logs there may add keys.
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

/// Section `output`: what a run leaves behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OutputConfig {
    /// The folder in which each run gets its own.
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

//! Types of configuration values, several of which can be written in more than one way.

use std::path::PathBuf;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The size that images are resized to, in pixels: one number for a square, or `[height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ImageSize {
    Square(#[schemars(range(min = 1, max = 16384))] u32),
    HeightWidth(#[schemars(inner(range(min = 1, max = 16384)))] [u32; 2]),
}

impl ImageSize {
    /// Height and width in pixels.
    pub fn height_width(self) -> [u32; 2] {
        match self {
            ImageSize::Square(side) => [side, side],
            ImageSize::HeightWidth(both) => both,
        }
    }
}

/// The learning rate schedule after the warmup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheduler {
    /// Half a cosine from the learning rate to `eta_min`.
    #[default]
    Cosine,
    /// Linear from the learning rate to `eta_min`.
    Linear,
    /// Multiplied by `gamma` every `step_size` epochs.
    Step,
    /// Multiplied by `gamma` at each of the `milestones`.
    MultiStep,
    /// Proportional to `(1 - progress)^power`, from the learning rate to `eta_min`.
    Polynomial,
    /// Rises to the learning rate and falls again, each along half a cosine (Smith and Topin 2018);
    /// momentum is constant.
    OneCycle,
    Constant,
}

/// Parameters of the schedule; each schedule reads its own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SchedulerParams {
    /// Epochs from the end of the warmup until cosine, linear, polynomial and onecycle reach their
    /// end; by default the remaining training.
    #[serde(rename = "T_max", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub t_max: Option<u32>,
    /// The learning rate at the end of cosine, linear and polynomial; by default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub eta_min: Option<f64>,
    /// Epochs between two steps of the schedule `step`, counted from the start of training; by
    /// default a third of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub step_size: Option<u32>,
    /// Factor of each step of the schedules `step` and `multistep`; by default 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub gamma: Option<f64>,
    /// The epochs after which `multistep` steps, counted from the start of training; by default two
    /// thirds and nine tenths of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(inner(range(min = 1)))]
    pub milestones: Option<Vec<u32>>,
    /// Exponent of `polynomial`; by default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub power: Option<f64>,
    /// The fraction of `onecycle` in which the rate rises; by default 0.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub pct_start: Option<f64>,
    /// `onecycle` starts at the learning rate divided by this; by default 25.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0))]
    pub div_factor: Option<f64>,
    /// `onecycle` ends at its initial rate divided by this; by default 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0))]
    pub final_div_factor: Option<f64>,
}

/// The optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    #[default]
    AdamW,
    /// Stochastic gradient descent with momentum; weight decay is added to the gradients.
    Sgd,
    /// Orthogonalised momentum for the weight matrices of the hidden layers (Jordan et al. 2024),
    /// AdamW for all other parameters; uses learning rates as for AdamW.
    Muon,
}

/// Parameters of the optimizer; each optimizer reads its own.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OptimizerParams {
    /// Decay of AdamW's first-moment estimate; by default 0.9.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.99999))]
    pub beta1: Option<f64>,
    /// Decay of AdamW's second-moment estimate; by default 0.999.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.9999999))]
    pub beta2: Option<f64>,
    /// Term added to AdamW's denominator; by default 1e-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub epsilon: Option<f64>,
    /// Momentum of SGD (by default 0.9) and Muon (by default 0.95).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.99999))]
    pub momentum: Option<f64>,
    /// Nesterov momentum for SGD (by default false) and Muon (by default true).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nesterov: Option<bool>,
}

/// An exponential moving average of the weights: `true`, its decay, or a map of both of its
/// parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EmaConfig {
    Switch(bool),
    Decay(#[schemars(range(min = 0.0, max = 0.9999999))] f64),
    Numbers(EmaParams),
}

/// The decay at step t is `decay · (1 - exp(-t / tau))`, so that the initial weights are soon
/// forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EmaParams {
    /// Fraction of the average retained in each step.
    #[schemars(range(min = 0.0, max = 0.9999999))]
    pub decay: f64,
    /// Number of steps until the decay reaches about two thirds of its value; 0 applies the full
    /// decay from the start.
    #[schemars(range(min = 0.0))]
    pub tau: f64,
}

impl Default for EmaParams {
    fn default() -> Self {
        EmaParams {
            decay: 0.9999,
            tau: 2000.0,
        }
    }
}

impl EmaConfig {
    /// The parameters, if the moving average is enabled.
    pub fn numbers(self) -> Option<EmaParams> {
        match self {
            EmaConfig::Switch(on) => on.then(EmaParams::default),
            EmaConfig::Decay(decay) => Some(EmaParams {
                decay,
                ..EmaParams::default()
            }),
            EmaConfig::Numbers(numbers) => Some(numbers),
        }
    }
}

/// Whether a smaller or a larger value of a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MonitorMode {
    Min,
    Max,
}

/// What happens when a loss or its gradients are NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NanPolicy {
    /// The run ends with an error naming the step and its images; the last checkpoint is kept.
    #[default]
    Stop,
    /// The step is skipped and reported with its images; ten in a row end the run.
    Skip,
}

/// The numeric precision of the forward passes, and of the backward passes in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 on a GPU that supports it, fp16 on an older GPU, fp32 on a CPU.
    Auto,
    #[default]
    Fp32,
    /// float32 matrix products with a 10-bit mantissa on a GPU.
    Tf32,
    /// Autocast to bfloat16; weights, loss and optimizer stay in float32.
    Bf16,
    /// Autocast to float16, with dynamic loss scaling.
    Fp16,
}

/// The attention implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Attention {
    /// libtorch's fused kernels where applicable.
    #[default]
    Auto,
    /// Plain matrix products: slower, with more memory, and the same on every device. Useful to
    /// tell a kernel bug from a model bug.
    Math,
}

/// The GPUs to use: `auto`, `cpu`, `gpu`, their number, or a list of indices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PreferredDevices {
    Name(DeviceName),
    Count(#[schemars(range(min = 1))] u32),
    Indices(Vec<u32>),
}

/// A named device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceName {
    Auto,
    Cpu,
    Gpu,
    Cuda,
}

/// CPU cores and GPUs of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Resources {
    /// Number of compute threads of libtorch; by default all cores.
    #[serde(rename = "CPU", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub cpu: Option<u32>,
    /// 0 trains on the CPU.
    #[serde(rename = "GPU", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub gpu: Option<u32>,
}

/// Visualization of predictions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Visualization {
    /// Draw the predictions of the last evaluation and save the images.
    pub save_images: bool,
    /// Predictions with a lower score are not drawn; metrics are not affected.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence_threshold: f64,
    /// Maximum number of predictions drawn per image, best first.
    pub max_boxes: u32,
    /// Maximum number of images drawn.
    pub max_images: u32,
}

impl Default for Visualization {
    fn default() -> Self {
        Visualization {
            save_images: false,
            confidence_threshold: 0.5,
            max_boxes: 100,
            max_images: 16,
        }
    }
}

/// The default of `output.results_dir`.
pub fn results_dir() -> PathBuf {
    PathBuf::from("runs")
}

//! Values that a configuration may write in more than one way.

use std::path::PathBuf;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The size that images are brought to, in pixels: one number for a square, or `[height, width]`.
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

/// How the learning rate goes on after the warmup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheduler {
    /// Half a cosine, from the learning rate to `eta_min`.
    #[default]
    Cosine,
    /// A straight line from the learning rate to `eta_min`.
    Linear,
    /// Times `gamma` every `step_size` epochs.
    Step,
    /// Times `gamma` at each of the `milestones`.
    MultiStep,
    /// `(1 - progress)` to the power of `power`, from the learning rate to `eta_min`.
    Polynomial,
    /// Up to the learning rate and down again, each half a cosine (Smith and Topin 2018); momentum stays.
    OneCycle,
    Constant,
}

/// The numbers of a schedule; each schedule reads its own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SchedulerParams {
    /// Epochs from the end of the warmup until cosine, linear, polynomial and onecycle reach their end; by default what is left of
    /// the training.
    #[serde(rename = "T_max", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub t_max: Option<u32>,
    /// The learning rate at the end of cosine, linear and polynomial; by default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub eta_min: Option<f64>,
    /// Epochs between two steps of the schedule `step`, counted from the training's start; by default a third of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub step_size: Option<u32>,
    /// The factor of each step of the schedules `step` and `multistep`; by default 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub gamma: Option<f64>,
    /// The epochs after which `multistep` steps, counted from the training's start; by default two thirds and nine tenths of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(inner(range(min = 1)))]
    pub milestones: Option<Vec<u32>>,
    /// The power of `polynomial`; by default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub power: Option<f64>,
    /// The part of `onecycle` in which the rate rises; by default 0.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub pct_start: Option<f64>,
    /// `onecycle` begins with the learning rate divided by this; by default 25.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0))]
    pub div_factor: Option<f64>,
    /// `onecycle` ends with its first rate divided by this; by default 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0))]
    pub final_div_factor: Option<f64>,
}

/// What makes steps of gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    #[default]
    AdamW,
    /// Stochastic gradient descent with momentum; weight decay is added to the gradients.
    Sgd,
    /// Orthogonalised momentum for the matrices of the hidden layers (Jordan et al. 2024), AdamW for everything else; its rates
    /// are AdamW's.
    Muon,
}

/// The numbers of an optimizer; each optimizer reads its own.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OptimizerParams {
    /// How long AdamW remembers gradients; by default 0.9.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.99999))]
    pub beta1: Option<f64>,
    /// How long AdamW remembers squared gradients; by default 0.999.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.9999999))]
    pub beta2: Option<f64>,
    /// What AdamW adds to the divisor; by default 1e-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub epsilon: Option<f64>,
    /// Of SGD (by default 0.9) and Muon (by default 0.95).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.99999))]
    pub momentum: Option<f64>,
    /// Nesterov's momentum, of SGD (by default false) and Muon (by default true).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nesterov: Option<bool>,
}

/// A moving average of the weights: `true`, its decay, or both of its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EmaConfig {
    Switch(bool),
    Decay(#[schemars(range(min = 0.0, max = 0.9999999))] f64),
    Numbers(EmaParams),
}

/// The decay of step t is `decay · (1 - exp(-t / tau))`, so that the first weights are soon forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EmaParams {
    /// What stays of the average in each step.
    #[schemars(range(min = 0.0, max = 0.9999999))]
    pub decay: f64,
    /// Steps in which the decay gets to two thirds of its value; 0 has it from the start.
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
    /// Its numbers, if it is on.
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
    /// The run ends with an error that names the step and its images; the last checkpoint is kept.
    #[default]
    Stop,
    /// The step changes nothing, and is told with its images; ten of them in a row end the run.
    Skip,
}

/// The number format of a model's forward passes, and of the backward passes in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 on a GPU that has it, fp16 on an older one, fp32 on a CPU.
    Auto,
    #[default]
    Fp32,
    /// On a GPU, products of float32 with 10 bits of mantissa.
    Tf32,
    /// Autocast to bfloat16; weights, loss and optimizer stay in float32.
    Bf16,
    /// Autocast to float16, with a loss scale that finds itself.
    Fp16,
}

/// How attention is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Attention {
    /// By libtorch's fused kernels where they suit.
    #[default]
    Auto,
    /// As plain products of matrices: slower, with more memory, and the same on every device. It tells a kernel's fault from a model's.
    Math,
}

/// Which GPUs: `auto`, `cpu`, `gpu`, how many, or a list of their indices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PreferredDevices {
    Name(DeviceName),
    Count(#[schemars(range(min = 1))] u32),
    Indices(Vec<u32>),
}

/// A device by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceName {
    Auto,
    Cpu,
    Gpu,
    Cuda,
}

/// Processor cores and GPUs of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Resources {
    /// Threads that libtorch computes with; by default all cores.
    #[serde(rename = "CPU", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub cpu: Option<u32>,
    /// 0 keeps the training on the CPU.
    #[serde(rename = "GPU", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub gpu: Option<u32>,
}

/// Images with predictions that a run draws.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Visualization {
    /// Draw the predictions of the last evaluation into images.
    pub save_images: bool,
    /// Predictions with a lower score are not drawn; metrics never see this.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence_threshold: f64,
    /// The most predictions drawn in one image, best first.
    pub max_boxes: u32,
    /// The most images drawn.
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

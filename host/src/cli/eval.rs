//! `cvhost eval`.

use super::values::Split;
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// `cvhost eval`.
#[derive(Debug, Clone, Args)]
pub struct EvalArgs {
    /// The task, by name; by default `model.task_type` of the configuration
    #[arg(long, value_name = "NAME")]
    pub plugin: Option<String>,

    /// The configuration, a YAML file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: PathBuf,

    /// Use this plugin file before any that is found; may be given several times
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub plugin_file: Vec<PathBuf>,

    /// The model to evaluate: a folder with config.json and model.safetensors
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub checkpoint: PathBuf,

    /// Which pictures
    #[arg(long, value_enum, default_value_t = Split::Val)]
    pub split: Split,

    /// Values that override the configuration, such as data.batch_size=8
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

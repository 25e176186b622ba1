//! `cvhost eval`.

use super::ConfiguredArgs;
use super::values::Split;
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// `cvhost eval`.
#[derive(Debug, Clone, Args)]
pub struct EvalArgs {
    #[command(flatten)]
    pub configured: ConfiguredArgs,

    /// Model to evaluate: a folder with config.json and model.safetensors
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub checkpoint: PathBuf,

    /// The split to evaluate
    #[arg(long, value_enum, default_value_t = Split::Val)]
    pub split: Split,
}

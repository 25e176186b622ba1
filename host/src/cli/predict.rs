//! `cvhost predict`.

use crate::config::Precision;
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// `cvhost predict`.
#[derive(Debug, Clone, Args)]
pub struct PredictArgs {
    /// Name of the task; `cvhost plugin list` shows the available ones
    #[arg(long, value_name = "NAME")]
    pub plugin: String,

    /// Model: a folder with config.json and model.safetensors, or a hub id
    #[arg(long, value_name = "DIR|ID")]
    pub model: String,

    /// Name of the adapter; defaults to the one for the model's family. Earlier stages choose their
    /// own
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,

    /// Plugin file that takes precedence over discovered ones; can be repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub plugin_file: Vec<PathBuf>,

    /// Precision of the forward pass; auto chooses one suited to the device
    #[arg(long, value_enum, default_value_t = Precision::Fp32)]
    pub precision: Precision,

    /// Drop predictions with a lower score
    #[arg(long, value_name = "0..1", default_value_t = 0.5, value_parser = probability)]
    pub threshold: f64,

    /// Run another model first and pass its predictions to the next model with each image, for
    /// example person boxes for pose estimation; can be repeated, in order
    #[arg(long, value_name = "TASK=DIR|ID", value_parser = stage)]
    pub stage: Vec<Stage>,

    /// Score threshold of the earlier stages
    #[arg(long, value_name = "0..1", default_value_t = 0.5, value_parser = probability, requires = "stage")]
    pub stage_threshold: f64,

    /// JSON lines about each image, as `cvhost predict --json` prints them, given to the (first)
    /// model together with the image
    #[arg(long, alias = "side", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub prompt: Option<PathBuf>,

    /// Write images with the predictions drawn to this folder, and predictions that are files, such
    /// as maps
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,

    /// Images, or folders of images
    #[arg(value_name = "IMAGE", required = true, value_hint = ValueHint::AnyPath)]
    pub images: Vec<PathBuf>,
}

/// An earlier stage of a prediction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    pub plugin: String,
    pub model: String,
}

/// Reads `TASK=DIR`.
fn stage(text: &str) -> Result<Stage, String> {
    match text.split_once('=') {
        Some((plugin, model)) if !plugin.is_empty() && !model.is_empty() => Ok(Stage {
            plugin: plugin.to_owned(),
            model: model.to_owned(),
        }),
        _ => Err("expected a task and a model, TASK=DIR or TASK=ID".to_owned()),
    }
}

fn probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::tests::parse;

    #[test]
    fn a_threshold_is_a_probability() {
        assert!(parse("cvhost predict --plugin d --model m --threshold 1.5 a.jpg").is_err());
        assert!(parse("cvhost predict --plugin d --model m --threshold 0.3 a.jpg").is_ok());
    }
}

//! `cvhost data …`.

use super::ConfiguredArgs;
use super::values::Split;
use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

/// `cvhost data …`.
#[derive(Debug, Clone, Subcommand)]
pub enum DataCommand {
    /// Report all problems with annotations and images; exits with code 3 if there are errors
    Check(DataCheckArgs),
    /// Compute statistics of images, objects and classes
    Stats(DataStatsArgs),
    /// Draw augmented samples with their targets into one image
    Preview(DataPreviewArgs),
    /// Measure data loading throughput and where the time is spent
    Speed(DataSpeedArgs),
}

/// `cvhost data check`.
#[derive(Debug, Clone, Args)]
pub struct DataCheckArgs {
    #[command(flatten)]
    pub configured: ConfiguredArgs,

    /// The split to use; all configured splits by default; can be repeated
    #[arg(long, value_enum)]
    pub split: Vec<Split>,

    /// Write a repaired copy next to each faulty annotation file; existing files are never
    /// overwritten
    #[arg(long)]
    pub fix: bool,

    /// Report every problem instead of the first ten of each kind
    #[arg(long)]
    pub all: bool,

    /// Also exit with code 3 if there are warnings
    #[arg(long)]
    pub strict: bool,
}

/// `cvhost data stats`.
#[derive(Debug, Clone, Args)]
pub struct DataStatsArgs {
    #[command(flatten)]
    pub configured: ConfiguredArgs,

    /// The split to use; all configured splits by default; can be repeated
    #[arg(long, value_enum)]
    pub split: Vec<Split>,

    /// Number of images per split decoded for the mean and standard deviation of their pixels,
    /// sampled with training.seed
    #[arg(long, alias = "pictures", value_name = "N", default_value_t = 1000)]
    pub images: usize,

    /// Also write a self-contained HTML page with histograms and images
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,
}

/// `cvhost data preview`.
#[derive(Debug, Clone, Args)]
pub struct DataPreviewArgs {
    #[command(flatten)]
    pub configured: ConfiguredArgs,

    /// The split to use; only train is augmented and shuffled
    #[arg(long, value_enum, default_value_t = Split::Train)]
    pub split: Split,

    /// Number of samples
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=400))]
    pub count: u32,

    /// Output file, .jpg or .png
    #[arg(long, value_name = "FILE", default_value = "preview.jpg", value_hint = ValueHint::FilePath)]
    pub out: PathBuf,

    /// Show the samples of this epoch, counted from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub epoch: u64,

    /// Draw the same samples without augmentation
    #[arg(long)]
    pub no_augment: bool,
}

/// `cvhost data speed`.
#[derive(Debug, Clone, Args)]
pub struct DataSpeedArgs {
    #[command(flatten)]
    pub configured: ConfiguredArgs,

    /// The split to use; train is shuffled and augmented
    #[arg(long, value_enum, default_value_t = Split::Train)]
    pub split: Split,

    /// Number of passes over all images, after one uncounted warmup pass
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub passes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Command;
    use crate::cli::tests::parse;

    #[test]
    fn data_commands_take_splits_and_overrides_in_any_order() {
        let line = "cvhost data check data.num_workers=2 --config c.yaml --split train --split val --fix";
        let Command::Data(DataCommand::Check(check)) = parse(line).unwrap().command else {
            panic!("not data check")
        };
        assert_eq!(check.split, [Split::Train, Split::Val]);
        assert_eq!(check.configured.overrides, ["data.num_workers=2"]);
        assert!(check.fix && !check.strict);
        assert!(parse("cvhost data check --config c.yaml --split nowhere").is_err());
        assert!(parse("cvhost data preview --config c.yaml --count 0").is_err());
        assert!(parse("cvhost data stats").is_err());
        // The former name of `--images`.
        let line = "cvhost data stats --config c.yaml --pictures 3";
        let Command::Data(DataCommand::Stats(stats)) = parse(line).unwrap().command else {
            panic!("not data stats")
        };
        assert_eq!(stats.images, 3);
    }
}

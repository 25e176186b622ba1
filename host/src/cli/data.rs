//! `cvhost data …`.

use super::ConfiguredArgs;
use super::values::Split;
use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

/// `cvhost data …`.
#[derive(Debug, Clone, Subcommand)]
pub enum DataCommand {
    /// Report every problem of annotations and images; exit code 3 when there are errors
    Check(DataCheckArgs),
    /// Count and measure images, objects and classes
    Stats(DataStatsArgs),
    /// Draw augmented samples with their targets onto one sheet
    Preview(DataPreviewArgs),
    /// Measure how fast images become batches, and where the time goes
    Speed(DataSpeedArgs),
}

/// `cvhost data check`.
#[derive(Debug, Clone, Args)]
pub struct DataCheckArgs {
    #[command(flatten)]
    pub configured: ConfiguredArgs,

    /// Which images; by default every split that the configuration has; may be given several times
    #[arg(long, value_enum)]
    pub split: Vec<Split>,

    /// Write a repaired annotation file beside each one that is wrong; nothing that exists is overwritten
    #[arg(long)]
    pub fix: bool,

    /// Tell every problem, not just the first ten of a kind
    #[arg(long)]
    pub all: bool,

    /// Exit with code 3 when there are warnings too
    #[arg(long)]
    pub strict: bool,
}

/// `cvhost data stats`.
#[derive(Debug, Clone, Args)]
pub struct DataStatsArgs {
    #[command(flatten)]
    pub configured: ConfiguredArgs,

    /// Which images; by default every split that the configuration has; may be given several times
    #[arg(long, value_enum)]
    pub split: Vec<Split>,

    /// How many images of a split are decoded for the mean and deviation of their pixels, drawn by training.seed
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub images: usize,

    /// Also write one HTML page with histograms and images, which needs no network
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,
}

/// `cvhost data preview`.
#[derive(Debug, Clone, Args)]
pub struct DataPreviewArgs {
    #[command(flatten)]
    pub configured: ConfiguredArgs,

    /// Which images; only those of train are augmented and shuffled
    #[arg(long, value_enum, default_value_t = Split::Train)]
    pub split: Split,

    /// How many samples
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=400))]
    pub count: u32,

    /// The file to write, .jpg or .png
    #[arg(long, value_name = "FILE", default_value = "preview.jpg", value_hint = ValueHint::FilePath)]
    pub out: PathBuf,

    /// The samples of this epoch, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub epoch: u64,

    /// Draw the same samples without changing them at random
    #[arg(long)]
    pub no_augment: bool,
}

/// `cvhost data speed`.
#[derive(Debug, Clone, Args)]
pub struct DataSpeedArgs {
    #[command(flatten)]
    pub configured: ConfiguredArgs,

    /// Which images; those of train are shuffled and augmented
    #[arg(long, value_enum, default_value_t = Split::Train)]
    pub split: Split,

    /// How many times all images are read, beside a first time that is not counted
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub passes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Command;
    use crate::cli::tests::parse;

    #[test]
    fn data_verbs_take_splits_and_overrides_in_any_order() {
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
    }
}

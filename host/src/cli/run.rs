//! `cvhost run`.

use clap::{Args, ValueHint};
use std::path::PathBuf;
use std::str::FromStr;

/// `cvhost run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Name of the task; defaults to `model.task_type` of the configuration
    #[arg(long, value_name = "NAME")]
    pub plugin: Option<String>,

    /// Configuration file (YAML); defaults to the resumed run's own
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "resume")]
    pub config: Option<PathBuf>,

    /// Plugin file that takes precedence over discovered ones; can be repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub plugin_file: Vec<PathBuf>,

    /// Resume an interrupted run, given its folder; defaults to the newest run
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = NEWEST, value_hint = ValueHint::DirPath)]
    pub resume: Option<ResumeFrom>,

    #[command(flatten)]
    pub trial: Trial,

    /// Configuration overrides, such as training.max_epochs=3
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Trial runs.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Trial {
    /// Train and validate on the first N batches only, without augmentation or shuffling; a correct
    /// model with correct labels overfits them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with_all = ["resume", "fast_dev_run", "find_lr"])]
    pub overfit_batches: Option<u32>,

    /// Run training, validation, saving and reloading a checkpoint once, with N steps (default 1)
    /// and N validation batches; without loggers, leaving no files behind
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1",
          value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "resume")]
    pub fast_dev_run: Option<u32>,

    /// Find a learning rate: train with rates rising from 1e-7 to 1 over STEPS steps (default 100),
    /// show the loss and suggest a rate; without loggers, leaving no files behind
    #[arg(long, value_name = "STEPS", num_args = 0..=1, require_equals = true, default_missing_value = "100",
          value_parser = clap::value_parser!(u32).range(20..=100_000), conflicts_with_all = ["resume", "fast_dev_run", "profile"])]
    pub find_lr: Option<u32>,

    /// Profile the first N steps after one warmup step: prints a table at the end and writes
    /// trace.json to the run folder, for chrome://tracing or ui.perfetto.dev
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "fast_dev_run")]
    pub profile: Option<u32>,
}

impl RunArgs {
    /// Handles `--resume DIR` without the `=`: clap parses DIR as an override, but every override
    /// contains an `=`.
    pub(super) fn take_resume_folder(&mut self) {
        if self.resume == Some(ResumeFrom::Newest)
            && let Some(index) = self.overrides.iter().position(|text| !text.contains('='))
        {
            self.resume = Some(ResumeFrom::Folder(PathBuf::from(self.overrides.remove(index))));
        }
    }
}

/// The run that `--resume` continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResumeFrom {
    /// The newest run in the results folder.
    Newest,
    /// The run in this folder.
    Folder(PathBuf),
}

/// Represents `--resume` without a value. It can't be typed, so an empty shell variable is not
/// mistaken for it.
const NEWEST: &str = "\0";

impl FromStr for ResumeFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            NEWEST => Ok(ResumeFrom::Newest),
            "" => Err("the folder name is empty; --resume without a value takes the newest run".to_owned()),
            folder => Ok(ResumeFrom::Folder(PathBuf::from(folder))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Command;
    use crate::cli::tests::parse;

    #[test]
    fn run_takes_overrides_and_global_options_anywhere() {
        let cli =
            parse("cvhost run --plugin detection --config c.yaml training.max_epochs=3 --json model.a=b")
                .unwrap();
        assert!(cli.global.json);
        let Command::Run(run) = cli.command else {
            panic!("not run")
        };
        assert_eq!(run.overrides, ["training.max_epochs=3", "model.a=b"]);
        assert_eq!(run.resume, None);
    }

    #[test]
    fn resume_without_a_folder_does_not_swallow_an_override() {
        let cli = parse("cvhost run --config c.yaml --resume training.seed=1").unwrap();
        let Command::Run(run) = cli.command else {
            panic!("not run")
        };
        assert_eq!(run.resume, Some(ResumeFrom::Newest));
        assert_eq!(run.overrides, ["training.seed=1"]);
        assert!(parse("cvhost run --config c.yaml --resume= x=1").is_err());
        for line in [
            "--resume=runs/a x=1",
            "--resume runs/a x=1",
            "x=1 --resume runs/a",
        ] {
            let cli = parse(&format!("cvhost run --config c.yaml {line}")).unwrap();
            let Command::Run(mut run) = cli.command else {
                panic!("not run")
            };
            run.take_resume_folder();
            assert_eq!(run.resume, Some(ResumeFrom::Folder("runs/a".into())), "{line}");
            assert_eq!(run.overrides, ["x=1"], "{line}");
        }
    }

    #[test]
    fn find_lr_excludes_other_modes() {
        let steps = |line: &str| {
            let Command::Run(run) = parse(&format!("cvhost run --config c.yaml {line}"))?.command else {
                panic!("not run")
            };
            Ok::<_, clap::Error>(run.trial.find_lr)
        };
        assert_eq!(steps("--find-lr training.seed=1").unwrap(), Some(100));
        assert_eq!(steps("--find-lr=300").unwrap(), Some(300));
        assert_eq!(steps("").unwrap(), None);
        for other in ["--resume", "--fast-dev-run", "--overfit-batches 2", "--profile 3"] {
            assert!(steps(&format!("--find-lr {other}")).is_err(), "{other}");
        }
        assert!(steps("--find-lr=5").is_err());
        assert!(steps("--find-lr=many").is_err());
    }
}

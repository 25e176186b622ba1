//! The command line, as one clap structure: the launcher answers some verbs itself and hands the rest to the engine, which
//! parses the same arguments with the same structure.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use serde_json::json;

use crate::config::Precision;
use crate::output;

/// Trains, evaluates and serves computer-vision models from a YAML file, with plugins.
#[derive(Debug, Clone, Parser)]
#[command(name = "cvhost", version, propagate_version = true, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
    0  success
    1  the run failed
    2  wrong command line or configuration
    3  unusable pictures, annotations or checkpoint
    4  libtorch, a plugin or the machine
  130  interrupted";

impl Cli {
    /// The program's own arguments. A wrong command line prints what is wrong, with `--json` also as an event, and ends the
    /// program with exit code 2; `--help` and `--version` end it with 0.
    pub fn from_args() -> Self {
        let mut cli = Self::try_parse().unwrap_or_else(|error| {
            if error.use_stderr() && std::env::args_os().any(|arg| arg == "--json") {
                let text = error.render().to_string();
                let message = text
                    .trim_start_matches("error: ")
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                output::event("error", json!({"kind": "usage", "message": message}));
            }
            error.exit()
        });
        if let Command::Run(run) = &mut cli.command {
            run.take_resume_folder();
        }
        cli
    }
}

/// Options that every verb takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Print JSON lines on stdout, each with "schema" and "event"; logs and progress stay on stderr
    #[arg(long, global = true)]
    pub json: bool,

    /// Look for plugins in this folder first; may be given several times
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub plugins_dir: Vec<PathBuf>,

    /// Where to compute: auto, cpu or cuda:N
    #[arg(long, global = true, default_value_t = Device::Auto, value_name = "DEVICE")]
    pub device: Device,

    /// Say more on stderr; -vv for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Say only warnings and errors on stderr, without progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// The verbs.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Train a model
    Run(RunArgs),
    /// Compute the metrics of a checkpoint on one split
    Eval(EvalArgs),
    /// Predict on pictures
    Predict(PredictArgs),
    /// List or inspect plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Check, measure or look at the data of a configuration
    #[command(subcommand)]
    Data(DataCommand),
    /// Check or show a configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check that this machine has what cvhost needs
    Doctor,
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

/// `cvhost run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The task, by name; by default `model.task_type` of the configuration
    #[arg(long, value_name = "NAME")]
    pub plugin: Option<String>,

    /// The configuration, a YAML file; a resumed run's own when none is given
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "resume")]
    pub config: Option<PathBuf>,

    /// Use this plugin file before any that is found; may be given several times
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub plugin_file: Vec<PathBuf>,

    /// Go on with an interrupted run: its folder, or the newest one when none is given
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = "", value_hint = ValueHint::DirPath)]
    pub resume: Option<ResumeFrom>,

    #[command(flatten)]
    pub trial: Trial,

    /// Values that override the configuration, such as training.max_epochs=3
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Runs that try something out.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Trial {
    /// Train and validate on the first N batches alone, unchanged and in order: a sound model and sound labels can be learnt by
    /// heart
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with_all = ["resume", "fast_dev_run", "find_lr"])]
    pub overfit_batches: Option<u32>,

    /// Go through everything once with N steps (1 by default) and N batches of validation: training, validation, a checkpoint,
    /// loading it again; without loggers, and nothing is left behind
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1",
          value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "resume")]
    pub fast_dev_run: Option<u32>,

    /// Find a learning rate: train at rates that rise from 1e-7 to 1 in STEPS steps (100 by default), show the loss and suggest a
    /// rate; without loggers, and nothing is left behind
    #[arg(long, value_name = "STEPS", num_args = 0..=1, require_equals = true, default_missing_value = "100",
          value_parser = clap::value_parser!(u32).range(20..=100_000), conflicts_with_all = ["resume", "fast_dev_run", "profile"])]
    pub find_lr: Option<u32>,

    /// Record the first N steps after one that warms up: where their time goes, as a table at the end and as trace.json in the run
    /// folder, which chrome://tracing and ui.perfetto.dev show
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "fast_dev_run")]
    pub profile: Option<u32>,
}

impl RunArgs {
    /// `--resume DIR` without the `=`: clap takes DIR for an override, but no override lacks an `=`.
    fn take_resume_folder(&mut self) {
        if self.resume == Some(ResumeFrom::Newest)
            && let Some(index) = self.overrides.iter().position(|text| !text.contains('='))
        {
            self.resume = Some(ResumeFrom::Folder(PathBuf::from(self.overrides.remove(index))));
        }
    }
}

/// Which run `--resume` continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResumeFrom {
    /// The newest run in the results folder.
    Newest,
    /// The run in this folder.
    Folder(PathBuf),
}

impl FromStr for ResumeFrom {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text.is_empty() {
            ResumeFrom::Newest
        } else {
            ResumeFrom::Folder(PathBuf::from(text))
        })
    }
}

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

/// `cvhost predict`.
#[derive(Debug, Clone, Args)]
pub struct PredictArgs {
    /// The task, by name; `cvhost plugin list` shows what there is
    #[arg(long, value_name = "NAME")]
    pub plugin: String,

    /// The model: a folder with config.json and model.safetensors, or a hub id
    #[arg(long, value_name = "DIR|ID")]
    pub model: String,

    /// The adapter, by name; by default the one that serves the model's family. Earlier stages have their own
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,

    /// Use this plugin file before any that is found; may be given several times
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub plugin_file: Vec<PathBuf>,

    /// What to compute in; auto takes what suits the device
    #[arg(long, value_enum, default_value_t = Precision::Fp32)]
    pub precision: Precision,

    /// Leave out predictions with a lower score
    #[arg(long, value_name = "0..1", default_value_t = 0.5, value_parser = probability)]
    pub threshold: f64,

    /// Predict with another model first, and give its predictions to the next one with each picture: boxes of persons for
    /// their poses, for example; may be given several times, in order
    #[arg(long, value_name = "TASK=DIR|ID", value_parser = stage)]
    pub stage: Vec<Stage>,

    /// The threshold of those earlier models
    #[arg(long, value_name = "0..1", default_value_t = 0.5, value_parser = probability, requires = "stage")]
    pub stage_threshold: f64,

    /// What goes with each picture to the (first) model: lines as `cvhost predict --json` prints them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub side: Option<PathBuf>,

    /// Draw the predictions into pictures in this folder; predictions that are files, such as maps, go there too
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,

    /// Pictures, or folders of pictures
    #[arg(value_name = "IMAGE", required = true, value_hint = ValueHint::AnyPath)]
    pub images: Vec<PathBuf>,
}

/// `cvhost plugin …`.
#[derive(Debug, Clone, Subcommand)]
pub enum PluginCommand {
    /// List every plugin file that is found, and why one is rejected
    List {
        /// Also load each plugin and say how long it took
        #[arg(long)]
        load: bool,
    },
    /// Show everything that a plugin file says of itself
    Inspect {
        /// A file, or the name of a plugin or of something it provides
        #[arg(value_name = "FILE|NAME", value_hint = ValueHint::FilePath)]
        plugin: String,
    },
}

/// `cvhost data …`.
#[derive(Debug, Clone, Subcommand)]
pub enum DataCommand {
    /// Report every problem of annotations and pictures; exit code 3 when there are errors
    Check(DataCheckArgs),
    /// Count and measure pictures, objects and classes
    Stats(DataStatsArgs),
    /// Draw augmented samples with their targets onto one sheet
    Preview(DataPreviewArgs),
    /// Measure how fast pictures become batches, and where the time goes
    Speed(DataSpeedArgs),
}

/// What every `cvhost data …` takes.
#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    /// The task, by name; by default `model.task_type` of the configuration
    #[arg(long, value_name = "NAME")]
    pub plugin: Option<String>,

    /// The configuration, a YAML file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: PathBuf,

    /// Use this plugin file before any that is found; may be given several times
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub plugin_file: Vec<PathBuf>,

    /// Values that override the configuration, such as data.num_workers=2
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// `cvhost data check`.
#[derive(Debug, Clone, Args)]
pub struct DataCheckArgs {
    #[command(flatten)]
    pub data: DataArgs,

    /// Which pictures; by default every split that the configuration has; may be given several times
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
    pub data: DataArgs,

    /// Which pictures; by default every split that the configuration has; may be given several times
    #[arg(long, value_enum)]
    pub split: Vec<Split>,

    /// How many pictures of a split are decoded for the mean and deviation of their pixels, drawn by training.seed
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub pictures: usize,

    /// Also write one HTML page with histograms and pictures, which needs no network
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,
}

/// `cvhost data preview`.
#[derive(Debug, Clone, Args)]
pub struct DataPreviewArgs {
    #[command(flatten)]
    pub data: DataArgs,

    /// Which pictures; only those of train are augmented and shuffled
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
    pub data: DataArgs,

    /// Which pictures; those of train are shuffled and augmented
    #[arg(long, value_enum, default_value_t = Split::Train)]
    pub split: Split,

    /// How many times all pictures are read, beside a first time that is not counted
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub passes: u64,
}

/// `cvhost config …`.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Report every problem of a configuration
    Check(ConfigArgs),
    /// Print the resolved configuration, and where each value came from
    Show(ConfigArgs),
}

/// What `config check` and `config show` take.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The configuration, a YAML file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: PathBuf,

    /// The task, by name; by default `model.task_type` of the configuration
    #[arg(long, value_name = "NAME")]
    pub plugin: Option<String>,

    /// Values that override the configuration, such as training.max_epochs=3
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// `cvhost completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// A part of the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Split {
    Train,
    Val,
    Test,
}

impl Split {
    pub const ALL: [Split; 3] = [Split::Train, Split::Val, Split::Test];

    /// `train`, `val` or `test`: the prefix of configuration keys and metric names.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
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

/// What `--device` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// A GPU when there is one that libtorch can use, else the CPU.
    Auto,
    Cpu,
    /// The GPU with this index.
    Cuda(usize),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => return Ok(Device::Auto),
            "cpu" => return Ok(Device::Cpu),
            "cuda" => return Ok(Device::Cuda(0)),
            _ => {}
        }
        let index = text.strip_prefix("cuda:").and_then(|n| n.parse().ok());
        index
            .map(Device::Cuda)
            .ok_or_else(|| "expected auto, cpu or cuda:N, such as cuda:0".to_owned())
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
        }
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
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

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
    fn a_search_for_a_learning_rate_stands_alone() {
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

    #[test]
    fn data_verbs_take_splits_and_overrides_in_any_order() {
        let line = "cvhost data check data.num_workers=2 --config c.yaml --split train --split val --fix";
        let Command::Data(DataCommand::Check(check)) = parse(line).unwrap().command else {
            panic!("not data check")
        };
        assert_eq!(check.split, [Split::Train, Split::Val]);
        assert_eq!(check.data.overrides, ["data.num_workers=2"]);
        assert!(check.fix && !check.strict);
        assert!(parse("cvhost data check --config c.yaml --split nowhere").is_err());
        assert!(parse("cvhost data preview --config c.yaml --count 0").is_err());
        assert!(parse("cvhost data stats").is_err());
    }

    #[test]
    fn devices_are_auto_cpu_or_cuda_with_an_index() {
        assert_eq!("cuda:2".parse(), Ok(Device::Cuda(2)));
        assert_eq!("cpu".parse(), Ok(Device::Cpu));
        assert!("gpu".parse::<Device>().is_err());
        assert!("cuda:-1".parse::<Device>().is_err());
        assert!(parse("cvhost doctor --device tpu").is_err());
    }

    #[test]
    fn a_threshold_is_a_probability() {
        assert!(parse("cvhost predict --plugin d --model m --threshold 1.5 a.jpg").is_err());
        assert!(parse("cvhost predict --plugin d --model m --threshold 0.3 a.jpg").is_ok());
    }
}

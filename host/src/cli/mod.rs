//! The command line, as one clap structure. The launcher handles some commands itself and passes
//! the others to the engine, which parses the same arguments with the same structure.

mod data;
mod eval;
mod predict;
mod program;
mod run;
mod values;

pub use data::{DataCheckArgs, DataCommand, DataPreviewArgs, DataSpeedArgs, DataStatsArgs};
pub use eval::EvalArgs;
pub use predict::{PredictArgs, Stage};
pub use program::{EngineCommand, LauncherCommand, Program};
pub use run::{ResumeFrom, RunArgs, Trial};
pub use values::{Device, Split};

use crate::output;
use clap::{Args, Parser, Subcommand, ValueHint};
use serde_json::json;
use std::path::PathBuf;

/// Trains, evaluates and runs computer-vision models, configured by a YAML file and extended by
/// plugins.
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
    3  unusable images, annotations or checkpoint
    4  libtorch, a plugin or the machine
  130  interrupted";

impl Cli {
    /// Parses the arguments of this process. An invalid command line prints the error, with
    /// `--json` also as an event, and exits with code 2; `--help` and `--version` exit with 0.
    pub fn from_args() -> Self {
        let mut cli = Self::try_parse().unwrap_or_else(|error| {
            if error.use_stderr() && std::env::args_os().any(|arg| arg == "--json") {
                let text = error.render().to_string();
                output::event(
                    "error",
                    json!({"kind": "usage", "message": first_paragraph(&text)}),
                );
            }
            error.exit()
        });
        if let Command::Run(run) = &mut cli.command {
            run.take_resume_folder();
        }
        cli
    }
}

/// clap's message without the usage and tips that follow it. A list of arguments takes several
/// lines.
fn first_paragraph(text: &str) -> String {
    let lines = text.trim_start_matches("error: ").lines().map(str::trim);
    lines
        .take_while(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Options common to all commands.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Print JSON lines on stdout, each with "schema" and "event"; logs and progress still go to
    /// stderr
    #[arg(long, global = true)]
    pub json: bool,

    /// Search this folder for plugins first; can be repeated
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub plugins_dir: Vec<PathBuf>,

    /// Device to compute on: auto, cpu or cuda:N
    #[arg(long, global = true, default_value_t = Device::Auto, value_name = "DEVICE")]
    pub device: Device,

    /// Log more on stderr; -vv for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Print only warnings and errors on stderr, without progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Train a model
    Run(RunArgs),
    /// Compute the metrics of a checkpoint on a split
    Eval(EvalArgs),
    /// Predict on images
    Predict(PredictArgs),
    /// List or inspect plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Check, measure or preview the data of a configuration
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

/// `cvhost plugin …`.
#[derive(Debug, Clone, Subcommand)]
pub enum PluginCommand {
    /// List all plugin files found, with the reason for each rejected one
    List {
        /// Also load each plugin and print the load time
        #[arg(long)]
        load: bool,
    },
    /// Show all metadata of a plugin file
    Inspect {
        /// A file, or the name of a plugin or of one of its components
        #[arg(value_name = "FILE|NAME", value_hint = ValueHint::FilePath)]
        plugin: String,
    },
}

/// The configuration of a command.
#[derive(Debug, Clone, Args)]
pub struct ConfiguredArgs {
    /// Name of the task; defaults to `model.task_type` of the configuration
    #[arg(long, value_name = "NAME")]
    pub plugin: Option<String>,

    /// Configuration file (YAML)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: PathBuf,

    /// Plugin file that takes precedence over discovered ones; can be repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub plugin_file: Vec<PathBuf>,

    /// Configuration overrides, such as data.batch_size=8
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// `cvhost config …`.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Report all problems of a configuration
    Check(ConfigArgs),
    /// Print the resolved configuration with the origin of each value
    Show(ConfigArgs),
}

/// Arguments of `config check` and `config show`.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// Configuration file (YAML)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: PathBuf,

    /// Name of the task; defaults to `model.task_type` of the configuration
    #[arg(long, value_name = "NAME")]
    pub plugin: Option<String>,

    /// Configuration overrides, such as training.max_epochs=3
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// `cvhost completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    pub(super) fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_usage_error_names_the_missing_arguments() {
        let text = parse("cvhost run").unwrap_err().render().to_string();
        assert_eq!(
            first_paragraph(&text),
            "the following required arguments were not provided: --config <FILE>"
        );
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}

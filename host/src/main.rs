//! The launcher: answers what needs no libtorch itself, in milliseconds, and becomes the engine for the rest.

mod verbs;

use std::process::ExitCode;

use cvhost::cli::{Cli, Command, ConfigCommand, PluginCommand};
use cvhost::error::Result;
use cvhost::output;

fn main() -> ExitCode {
    let cli = Cli::from_args();
    let code = match run(&cli) {
        Ok(()) => 0,
        Err(error) => output::error(&error, cli.global.json),
    };
    ExitCode::from(output::exit_code(code))
}

fn run(cli: &Cli) -> Result<()> {
    let global = &cli.global;
    match &cli.command {
        Command::Run(_) | Command::Eval(_) | Command::Predict(_) | Command::Data(_) => verbs::engine::exec(),
        Command::Plugin(PluginCommand::List { load: true }) => verbs::engine::exec(),
        Command::Plugin(PluginCommand::List { load: false }) => verbs::plugin::list(global),
        Command::Plugin(PluginCommand::Inspect { plugin }) => verbs::plugin::inspect(plugin, global),
        Command::Config(ConfigCommand::Check(args)) => verbs::config::check(args, global),
        Command::Config(ConfigCommand::Show(args)) => verbs::config::show(args, global),
        Command::Doctor => verbs::doctor::run(global),
        Command::Completions(args) => {
            verbs::completions::run(args);
            Ok(())
        }
    }
}

//! The launcher: handles commands that don't need libtorch itself, in milliseconds, and executes
//! the engine for all others.

mod commands;

use std::process::ExitCode;

use cvhost::cli::{Cli, Global, LauncherCommand, Program};
use cvhost::error::Result;
use cvhost::output;

fn main() -> ExitCode {
    let cli = Cli::from_args();
    let result = match cli.command.program() {
        Program::Launcher(command) => run(command, &cli.global),
        Program::Engine(_) => commands::engine::exec(),
    };
    let code = match result {
        Ok(()) => 0,
        Err(error) => output::error(&error, cli.global.json),
    };
    ExitCode::from(output::exit_code(code))
}

fn run(command: LauncherCommand<'_>, global: &Global) -> Result<()> {
    match command {
        LauncherCommand::PluginList => commands::plugin::list(global),
        LauncherCommand::PluginInspect(plugin) => commands::plugin::inspect(plugin, global),
        LauncherCommand::ConfigCheck(args) => commands::config::check(args, global),
        LauncherCommand::ConfigShow(args) => commands::config::show(args, global),
        LauncherCommand::Doctor => commands::doctor::run(global),
        LauncherCommand::Completions(args) => {
            commands::completions::run(args);
            Ok(())
        }
    }
}

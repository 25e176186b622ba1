//! The engine: the program that the launcher executes for commands that need libtorch.

use cvhost::cli::{Cli, EngineCommand, Global, Program};
use cvhost::error::Error;
use cvhost::machine::exit_now;
use cvhost::{interrupt, output, progress};
use cvhost_engine::{commands, telemetry};

fn main() {
    // Before any call of libtorch and any plugin.
    cvhost_torch::shim::open_cuda();
    let cli = Cli::from_args();
    if cli.global.quiet {
        progress::be_quiet();
    }
    telemetry::install(cli.global.verbose, cli.global.quiet);
    interrupt::install();
    let code = match cli.command.program() {
        Program::Engine(command) => run(command, &cli.global),
        Program::Launcher(_) => {
            let error = Error::usage("this command is handled by `cvhost` itself")
                .with_help("run `cvhost` instead of `cvhost-engine`");
            output::error(&error, cli.global.json)
        }
    };
    exit_now(output::exit_code(code));
}

fn run(command: EngineCommand<'_>, global: &Global) -> u8 {
    let result = match command {
        // It prints its own final event, including an error.
        EngineCommand::Run(args) => return commands::run::run(args, global),
        EngineCommand::Eval(args) => commands::eval::eval(args, global),
        EngineCommand::Predict(args) => commands::predict::predict(args, global),
        EngineCommand::Data(command) => commands::data::data(command, global),
        EngineCommand::PluginLoad => commands::plugin_list::list(global),
    };
    match result {
        Ok(()) => 0,
        Err(error) => output::error(&error, global.json),
    }
}

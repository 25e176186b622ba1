//! The engine: what the launcher becomes when a verb needs libtorch.

use cvhost::cli::{Cli, Command, PluginCommand};
use cvhost::error::{Error, Result};
use cvhost::output;
use cvhost_engine::{interrupt, progress, shim, telemetry, verbs};

fn main() {
    // Before any libtorch call and any plugin.
    shim::open_cuda();
    let cli = Cli::from_args();
    if cli.global.quiet {
        progress::be_quiet();
    }
    telemetry::install(cli.global.verbose, cli.global.quiet);
    interrupt::install();
    let code = match &cli.command {
        Command::Run(args) => verbs::run::run(args, &cli.global),
        other => match dispatch(other, &cli) {
            Ok(()) => 0,
            Err(error) => output::error(&error, cli.global.json),
        },
    };
    shim::exit_now(output::exit_code(code));
}

fn dispatch(command: &Command, cli: &Cli) -> Result<()> {
    match command {
        Command::Eval(args) => verbs::eval::eval(args, &cli.global),
        Command::Predict(args) => verbs::predict::predict(args, &cli.global),
        Command::Data(command) => verbs::data::data(command, &cli.global),
        Command::Plugin(PluginCommand::List { load: true }) => verbs::plugin_list::list(&cli.global),
        _ => {
            Err(Error::usage("this verb is the launcher's")
                .with_help("run `cvhost` instead of `cvhost-engine`"))
        }
    }
}

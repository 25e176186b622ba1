//! `cvhost completions SHELL`.

use clap::CommandFactory;
use cvhost::cli::{Cli, CompletionsArgs};
use cvhost::output;

/// Prints the script for one shell.
pub fn run(args: &CompletionsArgs) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cvhost", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end());
}

//! The jobs of this repository: `cargo xtask <job>`. This file only dispatches; each job has a file of its own.

mod bench;
mod build;
mod demo;
mod dist;
mod doctor;
mod elf;
mod gpu_check;
mod layout;
mod libtorch;
mod licences;
mod notices;
mod setup;
mod sh;
mod test;
mod tools;
mod wheels;
mod workspace;

use anyhow::{Result, bail};
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask <job>

  setup [--into DIR] [--download]   check the tools and lay out libtorch in .libtorch (or DIR);
                                    --download: fetch it even where LIBTORCH or a Python torch exists
  doctor                            what is installed, what is missing, which libtorch is used
  build                             setup, then build the workspace and check what its binaries link
  demo [classification] [--short]   build, then train, evaluate and draw on the example images: a detector, or a
                                    classifier
  test                              every check that CI runs
  bench loader | loss | step | host-cost | save [--python P] …
                                    measure against a peer, in turns; see benches/README.md
  gpu-check [--python P] …          what only a machine with a GPU can show: golden cases, precisions, speed; takes the
                                    options of `bench step`
  dist                              build, then lay out relocatable dist/bin and dist/plugins

LIBTORCH=FOLDER (with lib/ and include/) chooses the libtorch to use.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[&str]) -> Result<()> {
    match args {
        ["setup", options @ ..] => setup::run(&setup::Options::parse(options)?),
        ["doctor"] => doctor::run(),
        ["build"] => build::run(),
        ["demo"] => demo::run(&demo::DETECTION, demo::Length::Full),
        ["demo", "--short"] => demo::run(&demo::DETECTION, demo::Length::Short),
        ["demo", "classification"] => demo::run(&demo::CLASSIFICATION, demo::Length::Full),
        ["demo", "classification", "--short"] => demo::run(&demo::CLASSIFICATION, demo::Length::Short),
        ["test"] => test::run(),
        ["bench", args @ ..] => bench::run(args),
        ["gpu-check", options @ ..] => gpu_check::run(options),
        ["dist"] => dist::run(),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("unknown job or option: {}\n\n{USAGE}", args.join(" ")),
    }
}

//! The build jobs of this repository: `cargo xtask <job>`. This file only dispatches; each job has
//! its own file.

mod abi_snapshot;
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

  setup [--into DIR] [--download]   check the tools and set up libtorch in .libtorch (or DIR);
                                    --download: download it even if LIBTORCH or a Python torch exists
  doctor                            report what is installed, what is missing, and which libtorch is used
  build                             setup, then build the workspace and check the libraries its binaries link
  demo [classification] [--short]   build, then train a detector (or classifier) on the example images,
                                    evaluate it and draw its predictions
  test                              run all checks that CI runs
  bench loader | loss | step | host-cost | save [--python P] …
                                    compare with a peer, alternating; see benches/README.md
  gpu-check [--python P] …          checks that require a GPU: golden cases, precisions, speed; takes the
                                    options of `bench step`
  abi-snapshot [--update]           compare the plugin interface's layout with the recorded one, or record it
  dist                              build, then create relocatable dist/bin and dist/plugins

LIBTORCH=FOLDER (with lib/ and include/) selects the libtorch to use.";

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
        ["abi-snapshot", options @ ..] => abi_snapshot::run(options),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("unknown job or option: {}\n\n{USAGE}", args.join(" ")),
    }
}

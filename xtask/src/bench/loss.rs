//! `cargo xtask bench loss`: matching and loss for saved outputs of a detector, forward and
//! backward, compared with transformers.

use super::flags::Flags;
use super::median;
use super::training::lines;
use crate::workspace::Workspace;
use crate::{setup, sh};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Maximum difference of loss and gradients from the peer's.
const TOLERANCE: f64 = 1e-5;

/// Command line options.
#[derive(Debug, PartialEq)]
pub struct Options {
    python: PathBuf,
    rounds: u32,
    repetitions: u32,
    threads: u32,
}

impl Options {
    /// # Errors
    /// If an option is unknown, or its value is missing or not a number.
    pub fn parse(args: &[&str]) -> Result<Self> {
        let names = ["--python", "--rounds", "--repetitions", "--threads"];
        let flags = Flags::parse(args, &names, &[])?;
        Ok(Options {
            python: flags.path("--python", "python3"),
            rounds: flags.number("--rounds", 3)?,
            repetitions: flags.number("--repetitions", 50)?,
            threads: flags.number("--threads", 2)?,
        })
    }
}

/// Times of both programs for a case in each round, in milliseconds, and the differences between
/// our results and the peer's.
#[derive(Default)]
struct Case {
    ours: Vec<f64>,
    theirs: Vec<f64>,
    loss_difference: f64,
    gradient_difference: f64,
}

/// # Errors
/// If a program fails or its output isn't as expected, or if losses or gradients differ.
pub fn run(options: &Options) -> Result<()> {
    setup::run(&setup::Options::default())?;
    sh::run(&mut sh::cargo([
        "build",
        "--workspace",
        "--example",
        "loss_speed",
    ]))?;
    let workspace = Workspace::load()?;
    let folder = workspace.target.join("bench-loss");
    sh::run(peer(options, "make", &folder).args(["--seed", "0"]))?;
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    for _ in 0..options.rounds {
        for line in lines(&sh::output(&mut cvhost(options, &workspace.built, &folder))?)? {
            let case = cases.entry(text(&line, "case")?).or_default();
            case.ours.push(number(&line, "ms")?);
            case.loss_difference = number(&line, "loss_difference")?;
            case.gradient_difference = number(&line, "gradient_difference")?;
        }
        let mut command = peer(options, "time", &folder);
        command.args(["--repetitions", &options.repetitions.to_string()]);
        command.args(["--threads", &options.threads.to_string()]);
        for line in lines(&sh::output(&mut command)?)? {
            let case = cases.entry(text(&line, "case")?).or_default();
            case.theirs.push(number(&line, "ms")?);
        }
    }
    table(&cases)
}

fn peer(options: &Options, job: &str, folder: &Path) -> Command {
    let mut command = Command::new(&options.python);
    command.arg(sh::root().join("benches/peers/hf_loss.py"));
    command.arg(job).arg(folder);
    command
}

fn cvhost(options: &Options, built: &Path, folder: &Path) -> Command {
    // It needs libtorch's library folders, which cargo's runner sets.
    let mut command = Command::new(sh::root().join(".cargo/with-libtorch"));
    command.arg(built.join("examples/loss_speed")).arg(folder);
    command.args([options.repetitions, options.threads].map(|n| n.to_string()));
    command
}

fn text(line: &Value, key: &str) -> Result<String> {
    let text = line[key].as_str();
    Ok(text.with_context(|| format!("no {key} in {line}"))?.to_owned())
}

fn number(line: &Value, key: &str) -> Result<f64> {
    // JSON has no NaN: non-finite values are written as null.
    line[key].as_f64().with_context(|| format!("no {key} in {line}"))
}

fn table(cases: &BTreeMap<String, Case>) -> Result<()> {
    println!(
        "{:32} {:>10} {:>10} {:>7} {:>10} {:>10}",
        "", "cvhost", "peer", "ratio", "loss diff", "grad diff"
    );
    for (name, case) in cases {
        let ratios: Vec<f64> = case.theirs.iter().zip(&case.ours).map(|(a, b)| a / b).collect();
        println!(
            "{name:32} {:>7.2} ms {:>7.2} ms {:>6.1}x {:>10.1e} {:>10.1e}",
            median(&case.ours),
            median(&case.theirs),
            median(&ratios),
            case.loss_difference,
            case.gradient_difference
        );
    }
    let differs = |case: &Case| case.loss_difference.max(case.gradient_difference) > TOLERANCE;
    if let Some((name, _)) = cases.iter().find(|(_, case)| differs(case)) {
        bail!("{name}: loss or gradients differ by more than {TOLERANCE:e} from the peer's");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_loss_fails() {
        let case = |off| Case {
            loss_difference: off,
            ours: vec![1.0],
            theirs: vec![2.0],
            ..Case::default()
        };
        assert!(table(&BTreeMap::from([("a".to_owned(), case(1e-6))])).is_ok());
        assert!(table(&BTreeMap::from([("a".to_owned(), case(1e-4))])).is_err());
    }
}

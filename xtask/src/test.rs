//! `cargo xtask test`: runs all checks of the project, the fastest ones to give feedback first.

use crate::workspace::Workspace;
use crate::{build, demo, licences, setup, sh, tools};
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

/// Names a file to which tests append `<test>: <reason>` if they can't run on this machine.
const SKIP_LOG: &str = "CVHOST_SKIP_LOG";
/// Tells tests that programs and plugins have already been built.
const BUILT: &str = "CVHOST_BUILT";

/// # Errors
/// If a check failed. A failed build ends the run, because later checks would add no information;
/// all other failures are reported together at the end.
pub fn run() -> Result<()> {
    setup::run(&setup::Options::default())?;
    let missing = tools::missing_for_test();
    if !missing.is_empty() {
        bail!("{missing}");
    }
    let workspace = Workspace::load()?;
    let mut steps = Steps::default();
    let mut tests = Tally::default();

    steps.run("fmt", || sh::run(&mut sh::cargo(["fmt", "--all", "--check"])));
    let built = steps.run("build", || {
        sh::run(&mut sh::cargo(["build", "--workspace", "--all-targets"]))?;
        build::check_linkage(&workspace)
    });
    if built {
        steps.run("clippy", || {
            sh::run(&mut sh::cargo([
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]))
        });
        steps.run("test", || {
            tests = run_tests(&workspace.target.join("skipped-tests.txt"))?;
            if tests.failed > 0 || !tests.ended_well {
                bail!("{} tests failed", tests.failed)
            } else {
                Ok(())
            }
        });
        steps.run("doc", || {
            let mut doc = sh::cargo(["doc", "--workspace", "--no-deps"]);
            sh::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
        });
        steps.run("demo", || {
            demo::train_and_show(&workspace, &demo::DETECTION, demo::Length::Short)?;
            demo::train_and_show(&workspace, &demo::CLASSIFICATION, demo::Length::Short)
        });
        steps.run("licences", || licences::check(&workspace));
    }

    println!("\n{}{}", tests.summary(), steps.summary());
    let failed = steps.failed();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

#[derive(Default)]
struct Steps {
    done: Vec<Step>,
}

struct Step {
    name: &'static str,
    seconds: f64,
    /// The error message if the step failed.
    error: Option<String>,
}

impl Steps {
    /// Runs one step and records the outcome; returns whether it succeeded.
    fn run(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> bool {
        eprintln!("\n== {name}");
        let started = Instant::now();
        let error = work().err().map(|error| format!("{error:#}"));
        if let Some(error) = &error {
            eprintln!("{name} failed: {error}");
        }
        let well = error.is_none();
        self.done.push(Step {
            name,
            seconds: started.elapsed().as_secs_f64(),
            error,
        });
        well
    }

    fn failed(&self) -> Vec<&str> {
        self.done
            .iter()
            .filter(|step| step.error.is_some())
            .map(|step| step.name)
            .collect()
    }

    fn summary(&self) -> String {
        let mut text = String::new();
        for Step { name, seconds, error } in &self.done {
            let outcome = error
                .as_deref()
                .map_or("ok".to_owned(), |error| format!("FAILED: {error}"));
            text += &format!("{name:10} {seconds:7.1} s  {outcome}\n");
        }
        let all: f64 = self.done.iter().map(|step| step.seconds).sum();
        text + &format!("{:10} {all:7.1} s", "total")
    }
}

/// Test results of all crates.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    /// Tests marked `#[ignore]`, and `name: reason` lines of tests that can't run here.
    skipped: Vec<String>,
    /// Whether cargo itself succeeded: a test binary that crashes prints no count.
    ended_well: bool,
}

impl Tally {
    /// Parses a line printed by the test harness.
    fn read(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let before = counts.split(what).next().unwrap_or_default().trim();
                before
                    .rsplit(' ')
                    .next()
                    .and_then(|number| number.parse::<u64>().ok())
                    .unwrap_or(0)
            };
            self.passed += count(" passed");
            self.failed += count(" failed");
        } else if let Some((name, reason)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... ignored"))
        {
            let reason = reason.trim_start_matches(',').trim();
            self.skipped.push(format!(
                "{name}: {}",
                if reason.is_empty() {
                    "marked #[ignore]"
                } else {
                    reason
                }
            ));
        }
    }

    fn summary(&self) -> String {
        // The harness counts a test that skips itself as passed.
        let mut text = format!(
            "tests: {} passed or skipped, {} failed\n",
            self.passed, self.failed
        );
        for line in &self.skipped {
            text += &format!("  SKIPPED {line}\n");
        }
        text + &match self.skipped.len() {
            0 => "no tests were skipped\n\n".to_owned(),
            1 => "1 test was skipped\n\n".to_owned(),
            count => format!("{count} tests were skipped\n\n"),
        }
    }
}

/// Runs all tests, prints their output and counts the results.
fn run_tests(skip_log: &Path) -> Result<Tally> {
    fs::write(skip_log, "").with_context(|| format!("cannot write {}", skip_log.display()))?;
    let mut command = sh::cargo(["test", "--workspace", "--no-fail-fast"]);
    command.env(SKIP_LOG, skip_log).env(BUILT, "1");
    command.stdout(Stdio::piped());
    eprintln!("$ {}", sh::display(&command));
    let mut child = command.spawn().context("cannot start cargo test")?;
    let mut tally = Tally::default();
    if let Some(output) = child.stdout.take() {
        let mut terminal = std::io::stdout().lock();
        // Tests may print anything, even non-text output.
        for line in BufReader::new(output).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            tally.read(&line);
            writeln!(terminal, "{line}")?;
        }
    }
    tally.ended_well = child.wait()?.success();
    let log = fs::read_to_string(skip_log).with_context(|| format!("cannot read {}", skip_log.display()))?;
    tally.skipped.extend(
        log.lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| line.trim().trim_start_matches("SKIPPED ").to_owned()),
    );
    tally.skipped.sort();
    tally.skipped.dedup();
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_ignored_tests_are_read_from_the_harness() {
        let mut tally = Tally::default();
        for line in [
            "test a::works ... ok",
            "test a::slow ... ignored, needs a GPU",
            "test b ... ignored",
            "test result: FAILED. 12 passed; 3 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.10s",
            "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s",
        ] {
            tally.read(line);
        }
        assert_eq!((tally.passed, tally.failed), (17, 3));
        assert_eq!(tally.skipped, ["a::slow: needs a GPU", "b: marked #[ignore]"]);
        assert!(tally.summary().contains("2 tests were skipped"));
    }

    #[test]
    fn a_failed_step_is_in_the_summary_and_the_others_still_run() {
        let mut steps = Steps::default();
        assert!(!steps.run("first", || bail!("broken")));
        assert!(steps.run("second", || Ok(())));
        assert_eq!(steps.failed(), ["first"]);
        assert!(steps.summary().contains("FAILED: broken"));
    }
}

//! `cargo xtask bench host-cost`: the overhead per step of `cvhost run` over a hand-written
//! training loop.

use super::flags::Flags;
use super::memory::watched;
use super::training::Ground;
use super::{median, spread};
use crate::{build, sh};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Command line options.
pub struct Options {
    flags: Flags,
    model: String,
    batch: u32,
    rounds: u32,
    steps: u32,
}

/// Warm-up steps: the first steps of a process are slower.
const WARM: usize = 2;

impl Options {
    /// # Errors
    /// If an option is unknown, or its value is missing or invalid.
    pub fn parse(args: &[&str]) -> Result<Self> {
        let own = ["--model", "--batch", "--rounds", "--steps"];
        let flags = Ground::flags(args, &own)?;
        Ok(Options {
            model: flags.text("--model").unwrap_or("yolos-tiny").to_owned(),
            batch: flags.number("--batch", 2)?,
            rounds: flags.number("--rounds", 5)?,
            steps: flags.number("--steps", 40)?,
            flags,
        })
    }
}

/// Measures with the small example checkpoint, whose steps are short enough for the overhead to
/// stand out from noise, and also prints the overhead relative to a step of the real-size model.
///
/// # Errors
/// If a program fails or its output isn't as expected.
pub fn run(options: &Options) -> Result<()> {
    build::run()?;
    sh::run(&mut sh::cargo(["build", "--workspace", "--example", "hand_loop"]))?;
    let ground = Ground::new(&options.flags, "bench-training")?;
    println!("{:28} {:>12} {:>12} {:>12}", "", "cvhost run", "by hand", "host");
    let small = alternate(
        &ground,
        options,
        "small DETR of examples/",
        &sh::root().join("examples/checkpoint"),
        options.steps,
    )?;
    let real = alternate(
        &ground,
        options,
        &options.model,
        &ground.checkpoint(&options.model)?,
        6,
    )?;
    println!(
        "the host's overhead of {:.3} ms is {:.2} % of a step of {}",
        small.host * 1e3,
        100.0 * small.host / real.hand,
        options.model
    );
    Ok(())
}

/// Seconds per step.
struct Cost {
    hand: f64,
    host: f64,
}

fn alternate(ground: &Ground, options: &Options, name: &str, checkpoint: &Path, steps: u32) -> Result<Cost> {
    let settings = json!({"training": {"max_steps": WARM as u32 + steps}});
    let config = ground.config(checkpoint, options.batch, &settings)?;
    let (mut ours, mut by_hand, mut differences) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let run = ground.train(&config, &[], false)?.steps(WARM);
        let hand = hand_loop(ground, &config)?;
        differences.push(median(&run) - median(&hand));
        ours.extend(run);
        by_hand.extend(hand);
    }
    let (lowest, highest) = spread(&differences);
    let cost = Cost {
        hand: median(&by_hand),
        host: median(&differences),
    };
    println!(
        "{name:28} {:>9.2} ms {:>9.2} ms {:>9.3} ms   rounds {:.3} to {:.3} ms",
        median(&ours) * 1e3,
        cost.hand * 1e3,
        cost.host * 1e3,
        lowest * 1e3,
        highest * 1e3
    );
    Ok(cost)
}

fn hand_loop(ground: &Ground, config: &Path) -> Result<Vec<f64>> {
    // It needs libtorch's library folders, which cargo's runner sets.
    let mut command = Command::new(sh::root().join(".cargo/with-libtorch"));
    command.arg(ground.workspace.built.join("examples/hand_loop"));
    command.args(["run", "--quiet", "--config"]).arg(config);
    command.args(ground.common_arguments());
    command.env("OMP_NUM_THREADS", ground.threads.to_string());
    let output = watched(&mut command)?;
    let report = output.report()?;
    let steps = report["step_s"].as_array().context("the loop printed no steps")?;
    Ok(steps.iter().skip(WARM).filter_map(Value::as_f64).collect())
}

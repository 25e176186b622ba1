//! `cargo xtask bench host-cost`: what `cvhost run` adds to a step of a training loop that is written by hand.

use super::flags::Flags;
use super::memory::watched;
use super::training::Ground;
use super::{median, spread};
use crate::{build, sh};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// What is asked for on the command line.
pub struct Options {
    flags: Flags,
    model: String,
    batch: u32,
    rounds: u32,
    steps: u32,
}

/// The first steps of a process are slower.
const WARM: usize = 2;

impl Options {
    /// # Errors
    /// For an unknown option, or one whose value is missing or wrong.
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

/// Measures on the small example checkpoint, where a step is short and the host's part of it can be told from noise, and gives
/// that part in proportion to a step of the real-size model, too.
///
/// # Errors
/// When one of the programs fails, or prints something else than expected.
pub fn run(options: &Options) -> Result<()> {
    build::run()?;
    sh::run(&mut sh::cargo(["build", "--workspace", "--example", "hand_loop"]))?;
    let ground = Ground::new(&options.flags, "bench-training")?;
    println!("{:28} {:>12} {:>12} {:>12}", "", "cvhost run", "by hand", "host");
    let small = in_turns(
        &ground,
        options,
        "small DETR of examples/",
        &sh::root().join("examples/checkpoint"),
        options.steps,
    )?;
    let real = in_turns(
        &ground,
        options,
        &options.model,
        &ground.checkpoint(&options.model)?,
        6,
    )?;
    println!(
        "the host's {:.3} ms are {:.2} % of a step of {}",
        small.host * 1e3,
        100.0 * small.host / real.hand,
        options.model
    );
    Ok(())
}

/// Seconds of a step.
struct Cost {
    hand: f64,
    host: f64,
}

fn in_turns(ground: &Ground, options: &Options, name: &str, checkpoint: &Path, steps: u32) -> Result<Cost> {
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
    // It needs the folders of libtorch that cargo's runner sets.
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

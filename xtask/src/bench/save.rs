//! `cargo xtask bench save`: how long a step waits for a checkpoint, and how long a run takes to
//! resume.

use super::flags::Flags;
use super::training::{Ground, Trained};
use super::{median, spread};
use crate::build;
use anyhow::{Result, bail};
use serde_json::json;
use std::fs;

/// Command line options.
pub struct Options {
    flags: Flags,
    models: Vec<String>,
    rounds: u32,
}

/// Steps per run and interval between saves, which leaves time to write in between.
const STEPS: u64 = 12;
const EVERY: u64 = 4;

impl Options {
    /// # Errors
    /// If an option is unknown, or its value is missing or invalid.
    pub fn parse(args: &[&str]) -> Result<Self> {
        let own = ["--models", "--rounds"];
        let flags = Ground::flags(args, &own)?;
        Ok(Options {
            models: flags.list("--models", "yolos-tiny,detr-resnet-18")?,
            rounds: flags.number("--rounds", 3)?,
            flags,
        })
    }
}

/// # Errors
/// If a run fails or doesn't save as expected.
pub fn run(options: &Options) -> Result<()> {
    build::run()?;
    let ground = Ground::new(&options.flags, "bench-training")?;
    println!(
        "{:20} {:>10} {:>12} {:>12} {:>8} {:>16} {:>12} {:>12}",
        "", "files", "step waits", "full save", "fraction", "rounds", "fresh start", "resume"
    );
    for model in &options.models {
        let checkpoint = ground.checkpoint(model)?;
        let (mut waits, mut saves, mut fractions) = (Vec::new(), Vec::new(), Vec::new());
        let (mut starts, mut resumes) = (Vec::new(), Vec::new());
        let mut megabytes = 0;
        for _ in 0..options.rounds {
            let settings = json!({"training": {"max_steps": STEPS, "save_every_n_steps": EVERY}});
            let config = ground.config(&checkpoint, 2, &settings)?;
            let trained = ground.train(&config, &[], true)?;
            megabytes = size_of(&trained)?;
            let (wait, save) = stall(&trained)?;
            waits.push(wait);
            saves.push(save);
            fractions.push(wait / save);
            let again = ground.train(&config, &[&format!("--resume={}", trained.run.display())], false)?;
            // There are no steps left, so this measures startup and loading of the checkpoint and
            // its state.
            resumes.push(again.seconds);
            let settings = json!({"training": {"max_steps": 1}});
            let one = ground.train(&ground.config(&checkpoint, 2, &settings)?, &[], false)?;
            starts.push(one.seconds - one.steps(0).iter().sum::<f64>());
        }
        let (lowest, highest) = spread(&fractions);
        println!(
            "{model:20} {megabytes:>7} MB {:>9.1} ms {:>9.1} ms {:>6.1} % {:>16} {:>10.2} s {:>10.2} s",
            median(&waits) * 1e3,
            median(&saves) * 1e3,
            median(&fractions) * 100.0,
            format!("{:.1} to {:.1} %", lowest * 100.0, highest * 100.0),
            median(&starts),
            median(&resumes),
        );
    }
    Ok(())
}

/// The seconds a step waits for a save during the run, and the seconds of a full save while nothing
/// else computes: copying, and writing the last checkpoint at the end of the run.
fn stall(trained: &Trained) -> Result<(f64, f64)> {
    let saves: Vec<_> = trained
        .events
        .iter()
        .filter(|e| e["event"] == "checkpoint")
        .collect();
    let seconds = |name: &str, event: &serde_json::Value| event[name].as_f64().unwrap_or(f64::NAN);
    let within = saves
        .iter()
        .filter(|e| e["step"].as_u64().is_some_and(|step| step < STEPS));
    let waits: Vec<f64> = within.map(|e| seconds("waited_seconds", e)).collect();
    let Some(last) = saves.last().filter(|_| !waits.is_empty()) else {
        bail!(
            "expected checkpoints before the last step; the run reported {}",
            saves.len()
        );
    };
    let wait = median(&waits);
    Ok((wait, wait + seconds("written_in_seconds", last)))
}

/// Size of the last checkpoint in megabytes.
fn size_of(trained: &Trained) -> Result<u64> {
    let last = trained.run.join("checkpoints/last");
    let files = ["model.safetensors", "training_state/state.safetensors"];
    let sizes = files.iter().map(|name| Ok(fs::metadata(last.join(name))?.len()));
    Ok(sizes.collect::<Result<Vec<u64>>>()?.iter().sum::<u64>() / 1_000_000)
}

//! `cargo xtask bench step`: time per training step and peak memory, compared with the Hugging Face
//! Trainer.

use super::flags::Flags;
use super::gpu::Sampler;
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
    models: Vec<String>,
    batches: Vec<u32>,
    rounds: u32,
    /// Timed steps per round, after two warm-up steps.
    steps: u32,
}

/// Warm-up steps: the first steps of a process are slower.
const WARM: u32 = 2;

impl Options {
    /// # Errors
    /// If an option is unknown, or its value is missing or invalid.
    pub fn parse(args: &[&str]) -> Result<Self> {
        let own = ["--models", "--batches", "--rounds", "--steps"];
        let flags = Ground::flags(args, &own)?;
        let gpu = flags.has("--gpu");
        Ok(Options {
            models: flags.list("--models", "yolos-tiny,detr-resnet-18")?,
            batches: flags.list("--batches", if gpu { "2,4,8" } else { "2,4" })?,
            rounds: flags.number("--rounds", if gpu { 3 } else { 5 })?,
            steps: flags.number("--steps", if gpu { 100 } else { 5 })?,
            flags,
        })
    }
}

/// The results for one model and batch size.
pub struct Row {
    pub model: String,
    pub batch: u32,
    /// The peer's time per step divided by ours.
    pub ratio: f64,
    /// GPU utilisation in percent.
    pub busy: Option<f64>,
}

/// # Errors
/// Like [`measure`], or if the build fails.
pub fn run(options: &Options) -> Result<()> {
    build::run()?;
    measure(options).map(|_| ())
}

/// Measures the built binaries, and prints a row for each model and batch size.
///
/// # Errors
/// If a program fails or its output isn't as expected.
pub fn measure(options: &Options) -> Result<Vec<Row>> {
    let ground = Ground::new(&options.flags, "bench-training")?;
    println!(
        "{:24} {:>10} {:>10} {:>7} {:>14} {:>12} {:>12} {:>6}",
        "", "cvhost", "peer", "ratio", "rounds", "our memory", "peer's", "busy"
    );
    let mut rows = Vec::new();
    for model in &options.models {
        let checkpoint = ground.checkpoint(model)?;
        for &batch in &options.batches {
            rows.push(alternate(&ground, options, model, &checkpoint, batch)?);
        }
    }
    Ok(rows)
}

/// One program's step times, memory in megabytes, and GPU utilisation in percent.
#[derive(Default)]
struct Side {
    steps: Vec<f64>,
    medians: Vec<f64>,
    memory: u64,
    busy: Vec<f64>,
}

impl Side {
    fn add(&mut self, steps: &[f64], memory: u64) {
        self.steps.extend(steps);
        self.medians.push(median(steps));
        self.memory = self.memory.max(memory);
    }
}

fn alternate(ground: &Ground, options: &Options, model: &str, checkpoint: &Path, batch: u32) -> Result<Row> {
    let (mut ours, mut theirs) = (Side::default(), Side::default());
    for _ in 0..options.rounds {
        cvhost(ground, options, checkpoint, batch, &mut ours)?;
        peer(ground, options, checkpoint, batch, &mut theirs)?;
    }
    let ratios: Vec<f64> = ours
        .medians
        .iter()
        .zip(&theirs.medians)
        .map(|(a, b)| b / a)
        .collect();
    let (lowest, highest) = spread(&ratios);
    let row = Row {
        model: model.to_owned(),
        batch,
        ratio: median(&theirs.steps) / median(&ours.steps),
        busy: (!ours.busy.is_empty()).then(|| median(&ours.busy)),
    };
    let busy = row.busy.map_or_else(String::new, |busy| format!("{busy:.0} %"));
    println!(
        "{:24} {:>8.4} s {:>8.4} s {:>6.2}x {:>14} {:>9} MB {:>9} MB {busy:>6}",
        format!("{model}, batch {batch}"),
        median(&ours.steps),
        median(&theirs.steps),
        row.ratio,
        format!("{lowest:.2} to {highest:.2}"),
        ours.memory,
        theirs.memory,
    );
    Ok(row)
}

fn cvhost(ground: &Ground, options: &Options, checkpoint: &Path, batch: u32, side: &mut Side) -> Result<()> {
    let settings = json!({"training": {"max_steps": WARM + options.steps}});
    let config = ground.config(checkpoint, batch, &settings)?;
    let sampler = ground.gpu.then(Sampler::start);
    let trained = ground.train(&config, &[], false)?;
    if let Some(samples) = sampler.map(Sampler::stop) {
        let times = trained.step_times(WARM as usize);
        if let (Some(&first), Some(&last)) = (times.first(), times.last()) {
            side.busy.extend(samples.mean_between(first, last));
        }
    }
    side.add(&trained.steps(WARM as usize), trained.memory);
    Ok(())
}

fn peer(ground: &Ground, options: &Options, checkpoint: &Path, batch: u32, side: &mut Side) -> Result<()> {
    let mut command = Command::new(&ground.python);
    command
        .arg(sh::root().join("benches/peers/hf_detection.py"))
        .arg(checkpoint)
        .arg("--train")
        .args([&ground.images, &ground.annotations])
        .arg("--out")
        .arg(ground.work.join("peer"))
        .args([
            "--batch",
            &batch.to_string(),
            "--workers",
            &ground.threads.to_string(),
        ])
        .args([
            "--epochs",
            "1000",
            "--max-steps",
            &(WARM + options.steps).to_string(),
        ])
        .arg(if ground.gpu { "--bf16" } else { "--cpu" })
        .env("OMP_NUM_THREADS", ground.threads.to_string());
    let watched = watched(&mut command)?;
    let report = watched.report()?;
    let steps = report["step_s"].as_array().context("the peer printed no steps")?;
    let steps: Vec<f64> = steps.iter().filter_map(Value::as_f64).collect();
    side.add(&steps, watched.peak_memory);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_changes_the_defaults() {
        let options = Options::parse(&["--gpu", "--rounds", "2"]).unwrap();
        assert_eq!(
            (options.batches, options.rounds, options.steps),
            (vec![2, 4, 8], 2, 100)
        );
        assert_eq!(Options::parse(&[]).unwrap().batches, [2, 4]);
        assert!(Options::parse(&["--batches", "two"]).is_err());
    }
}

//! `cvhost data speed`: measures the throughput of the data pipeline in images per second, and the
//! time of each stage.

use crate::session::Session;
use crate::splits::Splits;
use cvhost::cli::{DataSpeedArgs, Global, Split};
use cvhost::error::{Error, Result};
use cvhost::interrupt;
use cvhost::output;
use cvhost::progress::{self, Pass};
use cvhost_data::{Loader, Stage};
use cvhost_torch::batch::to_batch;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tch::Device;

pub fn speed(args: &DataSpeedArgs, global: &Global) -> Result<()> {
    let session = Session::configured(&args.configured, global, &[])?;
    let folder = session.local_starting_folder()?;
    let classes = folder.label_names()?.unwrap_or_default();
    let data = Splits::new(&session, &classes).open(args.split)?;
    let input = Arc::new(session.input(&folder, &data.spec)?);
    let loader = if args.split == Split::Train {
        let sizes = session.input_sizes(&input, &folder, &data.spec)?;
        session.train_loader(data.source, &input, sizes)?
    } else {
        session.eval_loader(data.source, &input)?
    };
    if session.loaded.config.data.batch_size.number().is_none() {
        let size = session.batch_size();
        progress::note(&format!("batch size {size}: only `cvhost run` searches for auto"));
    }
    let measured = measure(&loader, args.passes)?;
    report(&measured, args.split, global);
    Ok(())
}

/// The result of the measurement.
struct Measured {
    /// Images per pass.
    images: usize,
    batches: usize,
    /// Images per second of each measured pass.
    rates: Vec<f64>,
    /// Resident memory at the end of each measured pass, in megabytes.
    memory: Vec<u64>,
    /// The time that one worker needs per image, by stage, over all measured passes.
    stages: Vec<(Stage, Duration)>,
    /// The time until the first batch of the first pass.
    first_batch: Duration,
}

/// Loads all batches `passes` times, after a warm-up pass that is not counted. Each batch is
/// converted to tensors on the CPU and dropped.
fn measure(loader: &Loader, passes: u64) -> Result<Measured> {
    let total = loader.batches() as u64 * (passes + 1);
    let pass = Pass::new("speed", total, 0);
    let mut measured = Measured {
        images: 0,
        batches: loader.batches(),
        rates: Vec::new(),
        memory: Vec::new(),
        stages: Vec::new(),
        first_batch: Duration::ZERO,
    };
    let mut before = Vec::new();
    let mut counted = 0;
    for epoch in 0..=passes {
        let started = Instant::now();
        let mut images = 0;
        for (number, batch) in loader.epoch(epoch, 0).enumerate() {
            if interrupt::requested() {
                return Err(interrupt::error());
            }
            let mut batch = batch?;
            to_batch(&mut batch, Device::Cpu)?;
            if epoch == 0 && number == 0 {
                measured.first_batch = started.elapsed();
            }
            images += batch.len();
            pass.step(String::new);
        }
        if epoch == 0 {
            before = Stage::ALL.map(|stage| loader.timings().of(stage)).to_vec();
        } else {
            measured
                .rates
                .push(images as f64 / started.elapsed().as_secs_f64());
            measured.memory.extend(memory("VmRSS:"));
            counted += images;
        }
        measured.images = images;
    }
    if counted == 0 {
        return Err(Error::input("no image can be read"));
    }
    let of_image = |(stage, before): (&Stage, Duration)| {
        let spent = loader.timings().of(*stage).saturating_sub(before);
        (*stage, spent / counted as u32)
    };
    measured.stages = Stage::ALL.iter().zip(before).map(of_image).collect();
    Ok(measured)
}

fn report(measured: &Measured, split: Split, global: &Global) {
    let mut sorted = measured.rates.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    let milliseconds = |time: Duration| (time.as_secs_f64() * 1e5).round() / 100.0;
    let peak = memory("VmHWM:");
    if global.json {
        let stages: Map<String, Value> = measured
            .stages
            .iter()
            .map(|(stage, time)| (stage.name().to_owned(), json!(milliseconds(*time))))
            .collect();
        let rates: Vec<f64> = measured.rates.iter().map(|r| (r * 10.0).round() / 10.0).collect();
        let fields = json!({
            "split": split.name(), "pictures": measured.images, "batches": measured.batches,
            "pictures_per_second": (median * 10.0).round() / 10.0, "rates": rates,
            "milliseconds_per_picture": stages, "first_batch_milliseconds": milliseconds(measured.first_batch),
            "memory_mb": measured.memory, "peak_memory_mb": peak,
        });
        output::event("data_speed", fields);
        return;
    }
    let images = measured.images;
    output::line(&format!(
        "{median:.1} images/s (median of {} passes over {images} images)",
        measured.rates.len()
    ));
    for (stage, time) in &measured.stages {
        output::line(&format!(
            "  {:8} {:8.2} ms per image and worker",
            stage.name(),
            milliseconds(*time)
        ));
    }
    output::line(&format!(
        "  first batch after {:.0} ms",
        milliseconds(measured.first_batch)
    ));
    if let Some(peak) = peak {
        output::line(&format!("  peak memory {peak} MB, including libtorch"));
    }
    progress::note("an epoch takes longer if the model is slower than this");
}

/// A value from /proc/self/status in megabytes; `None` if the system doesn't report it.
fn memory(line: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with(line))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes >> 10)
}

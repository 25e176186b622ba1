//! `cargo xtask bench`: ratios against peers, measured in turns in one run.

mod flags;
mod gpu;
mod host_cost;
mod loader;
mod loss;
mod memory;
mod save;
pub mod step;
mod training;

use anyhow::{Result, bail};

/// # Errors
/// When the peer's Python lacks something, or one of the programs fails; its own message stands above.
pub fn run(args: &[&str]) -> Result<()> {
    match args {
        ["loader", options @ ..] => loader::run(&loader::Options::parse(options)?),
        ["step", options @ ..] => step::run(&step::Options::parse(options)?),
        ["host-cost", options @ ..] => host_cost::run(&host_cost::Options::parse(options)?),
        ["save", options @ ..] => save::run(&save::Options::parse(options)?),
        ["loss", options @ ..] => loss::run(&loss::Options::parse(options)?),
        _ => bail!("which bench? There are: loader, loss, step, host-cost, save"),
    }
}

/// The middle value; of an even number the upper one of the two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The lowest and the highest value.
fn spread(values: &[f64]) -> (f64, f64) {
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (lowest, highest)
}

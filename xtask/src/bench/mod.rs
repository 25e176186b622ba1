//! `cargo xtask bench`: compares cvhost with peers, alternating within one run.

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
/// If the peer's Python lacks a package, or a program fails; the program's own message is printed
/// above.
pub fn run(args: &[&str]) -> Result<()> {
    match args {
        ["loader", options @ ..] => loader::run(&loader::Options::parse(options)?),
        ["step", options @ ..] => step::run(&step::Options::parse(options)?),
        ["host-cost", options @ ..] => host_cost::run(&host_cost::Options::parse(options)?),
        ["save", options @ ..] => save::run(&save::Options::parse(options)?),
        ["loss", options @ ..] => loss::run(&loss::Options::parse(options)?),
        _ => bail!("unknown or missing bench; expected loader, loss, step, host-cost or save"),
    }
}

/// The median; for an even number of values, the upper of the two middle ones.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The minimum and the maximum.
fn spread(values: &[f64]) -> (f64, f64) {
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (lowest, highest)
}

//! `cargo xtask bench`: ratios against peers, measured in turns in one run.

mod loader;
mod loss;
mod memory;

use anyhow::{Result, bail};

/// # Errors
/// When the peer's Python lacks something, or one of the programs fails; its own message stands above.
pub fn run(args: &[&str]) -> Result<()> {
    match args {
        ["loader", options @ ..] => loader::run(&loader::Options::parse(options)?),
        ["loss", options @ ..] => loss::run(&loss::Options::parse(options)?),
        _ => bail!("which bench? There are: loader, loss"),
    }
}

/// The middle value; of an even number the upper one of the two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

//! `cargo xtask gpu-check`: all checks that require a GPU, summarised in one table.

use crate::bench::step::{self, Row};
use crate::workspace::{PROGRAMS, Workspace};
use crate::{build, sh};
use anyhow::{Context, Result, bail};
use std::process::Command;

/// Minimum speed relative to the peer for each batch size; [`BUSY`] is the minimum GPU utilisation
/// at the largest, in percent.
const RATIOS: [(u32, f64); 3] = [(2, 1.5), (4, 1.3), (8, 1.15)];
const BUSY: f64 = 95.0;

/// Checks the golden cases and short runs in each precision on the first GPU, then measures speed;
/// `options` are those of `cargo xtask bench step`. Prints the table even if something fails.
///
/// # Errors
/// If there is no GPU, the build fails, or a row of the table fails.
pub fn run(options: &[&str]) -> Result<()> {
    let options = step::Options::parse(&[&["--gpu"], options].concat())?;
    let name = sh::output(Command::new("nvidia-smi").args(["--query-gpu=name", "--format=csv,noheader"]))
        .context("gpu-check requires a machine with an NVIDIA GPU; the other benches run anywhere")?;
    build::run()?;
    let workspace = Workspace::load()?;
    let mut table = Table::default();

    let mut golden = sh::cargo(["test", "--workspace", "--test", "golden"]);
    golden
        .env("CVHOST_TEST_DEVICE", "cuda:0")
        .env("CVHOST_BUILT", "1");
    table.add("golden cases", sh::run(&mut golden).map(|()| String::new()));
    for precision in ["fp32", "tf32", "bf16", "fp16"] {
        let mut trial = Command::new(workspace.program(PROGRAMS[0]));
        trial.args([
            "run",
            "--quiet",
            "--fast-dev-run=5",
            "--device",
            "cuda:0",
            "--config",
        ]);
        trial.arg(sh::root().join("examples/demo.yaml"));
        trial.arg("--plugins-dir").arg(&workspace.built);
        trial
            .arg(format!("training.precision={precision}"))
            .current_dir(sh::root());
        table.add(
            &format!("short run in {precision}"),
            sh::run(&mut trial).map(|()| String::new()),
        );
    }
    match step::measure(&options) {
        Ok(rows) => rows.iter().for_each(|row| table.judge(row)),
        Err(error) => table.add("steps", Err(error)),
    }

    println!("\n{}{}", name, table.text);
    if table.failed > 0 {
        bail!("{} checks failed", table.failed);
    }
    Ok(())
}

#[derive(Default)]
struct Table {
    text: String,
    failed: usize,
}

impl Table {
    /// Adds a row with the result or the error.
    fn add(&mut self, what: &str, outcome: Result<String>) {
        let (word, more) = match outcome {
            Ok(found) => ("ok", found),
            Err(error) => {
                self.failed += 1;
                ("FAILED", error.to_string())
            }
        };
        self.text += &format!("{what:30} {word:7} {more}\n");
    }

    fn judge(&mut self, row: &Row) {
        let wanted = RATIOS.iter().find(|(batch, _)| *batch == row.batch);
        let wanted = wanted.map_or(1.0, |(_, ratio)| *ratio);
        let busy = row.busy.unwrap_or(f64::NAN);
        let mut found = format!("{:.2}x the peer's speed (at least {wanted})", row.ratio);
        let mut well = row.ratio >= wanted;
        if row.batch == RATIOS[2].0 {
            found += &format!(", GPU utilisation {busy:.0} % (at least {BUSY})");
            well &= busy >= BUSY;
        }
        let outcome = if well {
            Ok(found)
        } else {
            Err(anyhow::anyhow!(found))
        };
        self.add(&format!("{}, batch {}", row.model, row.batch), outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_required_ratio_depends_on_the_batch_size() {
        let row = |batch, ratio, busy| Row {
            model: "m".to_owned(),
            batch,
            ratio,
            busy: Some(busy),
        };
        let mut table = Table::default();
        table.judge(&row(2, 1.6, 10.0));
        table.judge(&row(8, 1.2, 96.0));
        assert_eq!(table.failed, 0, "{}", table.text);
        table.judge(&row(4, 1.2, 99.0));
        table.judge(&row(8, 1.2, 90.0));
        assert_eq!(table.failed, 2, "{}", table.text);
    }
}

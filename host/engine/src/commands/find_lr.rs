//! `cvhost run --find-lr`: the learning-rate range test. Writes no files.

use super::prepare::{Prepared, prepare};
use cvhost::cli::{Global, RunArgs};
use cvhost::error::Result;
use cvhost::output;
use cvhost_report::summary::bars;
use cvhost_train::scaler::Scaler;
use cvhost_train::{Curve, CurveEnd, RangeTest};
use serde_json::json;

/// The number of lines of the text plot.
const LINES: usize = 24;

/// Tests `steps` rates and prints the result.
pub fn find_lr(args: &RunArgs, global: &Global, steps: u32) -> Result<()> {
    let Prepared {
        session,
        data,
        mut model,
        ..
    } = prepare(args, global, &[])?;
    let sizes = session.input_sizes(&model.input, &data.folder, &data.spec)?;
    let test = RangeTest {
        train: session.train_loader(data.train.clone(), &model.input, sizes)?,
        scaler: Scaler::of(model.network.format()),
        network: &mut model.network,
        training: &session.loaded.config.training,
        steps,
    };
    let curve = test.run()?;
    if global.json {
        let ended = match curve.end {
            CurveEnd::Complete => "complete",
            CurveEnd::Diverged => "diverged",
            CurveEnd::NotFinite => "not_finite",
        };
        let fields = json!({
            "suggestion": curve.suggestion().map(|at| rounded(curve.rates[at])),
            "ended": ended,
            "learning_rates": curve.rates,
            "losses": curve.losses,
            "smoothed_losses": curve.smoothed,
        });
        output::event("find_lr_finished", fields);
    } else {
        output::line(&text(&curve));
    }
    Ok(())
}

/// Rounds to two digits, which is already more than the accuracy of the test.
fn rounded(rate: f64) -> f64 {
    format!("{rate:.1e}").parse().unwrap_or(rate)
}

fn text(curve: &Curve) -> String {
    let suggestion = curve.suggestion();
    let mut text = plot(curve, suggestion);
    text += match curve.end {
        CurveEnd::Complete => "",
        CurveEnd::Diverged => "stopped early: the loss exceeded four times its best value\n",
        CurveEnd::NotFinite => "stopped early: at the next rate, the loss or the gradients are not finite\n",
    };
    let Some(at) = suggestion else {
        return text
            + "no learning rate can be suggested: the loss doesn't clearly decrease anywhere\n\
               more steps (--find-lr=300) or larger batches may help; if it doesn't decrease with \
               --overfit-batches either, check the labels and training.freeze";
    };
    let rate = curve.rates[at];
    text + &format!(
        "the loss decreases most steeply at {rate:.1e}; in the configuration:\n\ntraining:\n  \
         learning_rate: {rate:.1e}"
    )
}

/// Plots the smoothed losses over the rates, with a line every few steps; the suggestion always has
/// one.
fn plot(curve: &Curve, suggestion: Option<usize>) -> String {
    let count = curve.rates.len();
    let every = count.div_ceil(LINES).max(1);
    let offset = suggestion.map_or(0, |at| at % every);
    let shown: Vec<usize> = (0..count)
        .filter(|at| at % every == offset || at + 1 == count)
        .collect();
    let losses: Vec<f64> = shown.iter().map(|at| curve.smoothed[*at]).collect();
    // Capped, since a loss that explodes at the end would flatten everything before it.
    let first = losses.first().copied().unwrap_or(0.0);
    let losses: Vec<f64> = losses
        .iter()
        .map(|loss| loss.min(first + first.abs() / 2.0))
        .collect();
    let mut text = String::from("learning rate  loss (smoothed)\n");
    for (at, bar) in shown.iter().zip(bars(&losses, 40)) {
        let mark = if suggestion == Some(*at) {
            "  <- steepest"
        } else {
            ""
        };
        let line = format!(
            "{:>13.1e}  {:<9.4} {bar}{mark}",
            curve.rates[*at], curve.smoothed[*at]
        );
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(losses: &[f64], end: CurveEnd) -> Curve {
        let rates = (0..losses.len()).map(|i| 1e-7 * 1.2f64.powi(i as i32));
        Curve {
            rates: rates.collect(),
            losses: losses.to_vec(),
            smoothed: losses.to_vec(),
            end,
        }
    }

    #[test]
    fn the_text_has_a_configuration_line_or_reports_that_there_is_none() {
        let falling: Vec<f64> = (0..60).map(|i| if i < 40 { 5.0 } else { 2.0 }).collect();
        let found = text(&curve(&falling, CurveEnd::Diverged));
        assert!(found.contains("training:\n  learning_rate: 1."), "{found}");
        assert!(
            found.contains("<- steepest") && found.contains("four times"),
            "{found}"
        );
        assert!(found.lines().count() < 40, "{found}");
        let none = text(&curve(&[3.0; 60], CurveEnd::Complete));
        assert!(none.contains("no learning rate can be suggested"), "{none}");
        assert!(text(&curve(&[], CurveEnd::NotFinite)).contains("not finite"));
    }
}

//! `cvhost run --find-lr`: the learning-rate range test. Nothing is written.

use super::prepare::{Prepared, prepare};
use cvhost::cli::{Global, RunArgs};
use cvhost::error::Result;
use cvhost::output;
use cvhost_report::summary::bars;
use cvhost_train::scaler::Scaler;
use cvhost_train::{Curve, CurveEnd, RangeTest};
use serde_json::json;

/// Lines of the sketch.
const LINES: usize = 24;

/// Tests `steps` rates and prints what came of it.
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

/// Two digits are more than such a test knows.
fn rounded(rate: f64) -> f64 {
    format!("{rate:.1e}").parse().unwrap_or(rate)
}

fn text(curve: &Curve) -> String {
    let suggestion = curve.suggestion();
    let mut text = sketch(curve, suggestion);
    text += match curve.end {
        CurveEnd::Complete => "",
        CurveEnd::Diverged => "stopped there: the loss is more than four times its best\n",
        CurveEnd::NotFinite => "stopped there: with the next rate loss or gradients are no numbers\n",
    };
    let Some(at) = suggestion else {
        return text
            + "no learning rate can be suggested: the loss falls nowhere clearly\n\
               more steps may help (--find-lr=300), or larger batches; where it doesn't fall with --overfit-batches either, look at \
               labels and training.freeze";
    };
    let rate = curve.rates[at];
    text + &format!(
        "the loss falls most steeply at {rate:.1e}; in the configuration:\n\ntraining:\n  learning_rate: {rate:.1e}"
    )
}

/// Smoothed losses over rates, a line every few steps; the suggestion always has one.
fn sketch(curve: &Curve, suggestion: Option<usize>) -> String {
    let count = curve.rates.len();
    let every = count.div_ceil(LINES).max(1);
    let offset = suggestion.map_or(0, |at| at % every);
    let shown: Vec<usize> = (0..count)
        .filter(|at| at % every == offset || at + 1 == count)
        .collect();
    let losses: Vec<f64> = shown.iter().map(|at| curve.smoothed[*at]).collect();
    // A loss that explodes in the end would flatten everything before it.
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
    fn the_text_has_the_line_for_the_file_or_says_that_there_is_none() {
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
        assert!(text(&curve(&[], CurveEnd::NotFinite)).contains("no numbers"));
    }
}

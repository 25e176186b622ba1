//! `cvhost data stats`: the number and size of images, objects and classes.

mod html;
mod measure;
mod text;

use super::DataContext;
use crate::session::shown;
use crate::splits::{SplitData, Splits};
use cvhost::cli::{DataStatsArgs, Global};
use cvhost::error::{Error, Kind, Result};
use cvhost::output;
use measure::Stats;
use serde_json::json;

/// Measures the splits and prints the statistics.
pub fn stats(args: &DataStatsArgs, global: &Global) -> Result<()> {
    let context = DataContext::open(&args.configured, global, &[])?;
    let splits = Splits::new(&context.session, &context.classes);
    let mut all = Vec::new();
    for split in context.splits(&args.split, |split| splits.has(split))? {
        let data = splits.open(split).map_err(|e| {
            // The task's own help is about one problem; the report covers all.
            let help = e.help.clone().unwrap_or_default();
            e.with_help(format!("{help}; `cvhost data check` reports all problems").trim_start_matches("; "))
        })?;
        let stats = measure::measure(&context.session, split, &data, args.images)?;
        if global.json {
            output::event("data_stats", stats.to_json());
        } else {
            output::line(&text::text(&stats));
        }
        all.push((stats, data));
    }
    if let Some(path) = &args.html {
        let config = args.configured.config.display().to_string();
        let page = html::page(&config, context.session.loaded.config.training.seed, &all)?;
        std::fs::write(path, page).map_err(|e| Error::io(Kind::Failed, "write", path, &e))?;
        if global.json {
            output::event("data_page", json!({"file": path}));
        } else {
            output::line(&format!("page  {}", shown(path)));
        }
    }
    Ok(())
}

/// Minimum, median and maximum of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    /// `None` without any numbers.
    fn of(numbers: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.collect();
        sorted.sort_by(f64::total_cmp);
        let (below, above) = (
            sorted.get((sorted.len().max(1) - 1) / 2)?,
            sorted.get(sorted.len() / 2)?,
        );
        Some(Spread {
            min: *sorted.first()?,
            median: (below + above) / 2.0,
            max: *sorted.last()?,
        })
    }

    fn to_json(self) -> serde_json::Value {
        json!({"min": self.min, "median": self.median, "max": self.max})
    }
}

/// `part` as a percentage of `whole`, rounded to one decimal; 0 if `whole` is 0.
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    (1000.0 * part as f64 / whole as f64).round() / 10.0
}

/// The statistics of a split, and its records to load images from.
type Measured = (Stats, SplitData);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_that_of_odd_and_even_counts() {
        let of = |numbers: &[f64]| Spread::of(numbers.iter().copied()).map(|s| (s.min, s.median, s.max));
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some((1.0, 2.0, 3.0)));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), Some((1.0, 2.5, 4.0)));
        assert_eq!(of(&[5.0]), Some((5.0, 5.0, 5.0)));
        assert_eq!(of(&[]), None);
        assert_eq!((percent(1, 3), percent(1, 0)), (33.3, 0.0));
    }
}

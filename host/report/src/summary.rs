//! Results as human-readable text.

use cvhost_plugin_api::data::Table;
use serde_json::{Map, Value};
use std::fmt::Write;

/// Formats metrics as aligned lines, one per metric.
pub fn metrics(metrics: &Map<String, Value>) -> String {
    let width = metrics.keys().map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in metrics {
        let _ = writeln!(text, "{name:width$}  {:.4}", value.as_f64().unwrap_or(f64::NAN));
    }
    text.truncate(text.trim_end().len());
    text
}

/// Draws a text bar for each value, scaled linearly from the smallest (empty) to the largest
/// (`width` characters).
pub fn bars(values: &[f64], width: usize) -> Vec<String> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let fraction = |value: f64| {
        if high > low {
            (value - low) / (high - low)
        } else {
            0.0
        }
    };
    let length = |value: f64| (fraction(value) * width as f64).round() as usize;
    values
        .iter()
        .map(|value| "#".repeat(length(*value).min(width)))
        .collect()
}

/// Formats a table with aligned columns.
pub fn table(table: &Table) -> String {
    let rows: Vec<Vec<&str>> = std::iter::once(table.columns.iter().map(|c| c.as_str()).collect())
        .chain(table.rows.iter().map(|r| r.iter().map(|c| c.as_str()).collect()))
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| {
        rows.iter()
            .filter_map(|r| r.get(c))
            .map(|t| t.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = format!("\n{}\n", table.name);
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, w)| format!("{cell:w$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "  {}", line.trim_end());
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_range_from_empty_to_the_full_width() {
        assert_eq!(bars(&[1.0, 2.0, 3.0], 4), ["", "##", "####"]);
        assert_eq!(bars(&[5.0, 5.0], 4), ["", ""]);
        assert!(bars(&[], 4).is_empty());
    }
}

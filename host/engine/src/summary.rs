//! Results as text for people.

use cvhost_plugin_api::data::Table;
use serde_json::{Map, Value};
use std::fmt::Write;

/// Metrics, one a line, aligned.
pub fn metrics(metrics: &Map<String, Value>) -> String {
    let width = metrics.keys().map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in metrics {
        let _ = writeln!(text, "{name:width$}  {:.4}", value.as_f64().unwrap_or(f64::NAN));
    }
    text.truncate(text.trim_end().len());
    text
}

/// A table with aligned columns.
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

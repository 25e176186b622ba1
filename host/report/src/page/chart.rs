//! Histograms and bars.

use super::escaped;
use std::fmt::Write;

/// The size of a chart in SVG units; it is scaled to the available width.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 190.0;
/// Margins for the counts above the bars and the labels below.
const ABOVE: f64 = 18.0;
const BELOW: f64 = 52.0;
/// Left margin for the slanted label of the first bin.
const BESIDE: f64 = 24.0;
/// Bins of at least this width get horizontal labels.
const LEVEL: f64 = 90.0;

/// Draws a histogram as SVG: a bar per bin, with its count above and its label below. Returns an
/// empty string if all counts are 0.
pub fn histogram<'a>(title: &str, bins: impl Iterator<Item = (&'a str, u64)>) -> String {
    let bins: Vec<(&str, u64)> = bins.collect();
    let most = bins.iter().map(|(_, count)| *count).max().unwrap_or(0);
    if most == 0 {
        return String::new();
    }
    let step = (WIDTH - BESIDE) / bins.len() as f64;
    let available = HEIGHT - ABOVE - BELOW;
    let floor = HEIGHT - BELOW;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
        escaped(title)
    );
    for (number, (label, count)) in bins.iter().enumerate() {
        let height = if *count == 0 {
            0.0
        } else {
            (available * *count as f64 / most as f64).max(1.0)
        };
        let left = BESIDE + step * number as f64;
        let (middle, label) = (left + step / 2.0, escaped(label));
        let top = floor - height;
        let _ = writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" \
             height=\"{height:.1}\"><title>{label}: {count}</title></rect>",
            left + step * 0.08,
            step * 0.84
        );
        if *count > 0 {
            let _ = writeln!(
                svg,
                "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                top - 5.0,
                short(*count)
            );
        }
        let (y, turn) = (floor + 15.0, if step < LEVEL { " rotate(-35)" } else { "" });
        let anchor = if step < LEVEL { "end" } else { "middle" };
        let _ = writeln!(
            svg,
            "<text transform=\"translate({middle:.1} {y:.1}){turn}\" text-anchor=\"{anchor}\">{label}</text>"
        );
    }
    svg + "</svg>\n"
}

/// Formats a count with at most five characters.
fn short(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..1_000_000 => format!("{:.0}k", count as f64 / 1e3),
        _ => format!("{:.1}M", count as f64 / 1e6),
    }
}

/// Formats a table. Each row has a name, numbers as text under the headings, and a bar whose length
/// is relative to the largest value.
pub fn table_with_bars(headings: &[&str], rows: &[(String, Vec<String>, u64)]) -> String {
    let most = rows.iter().map(|(_, _, value)| *value).max().unwrap_or(0).max(1);
    let mut html = "<table>\n<tr>".to_owned();
    for (number, heading) in headings.iter().enumerate() {
        let class = if number == 0 { "" } else { " class=\"n\"" };
        let _ = write!(html, "<th{class}>{}</th>", escaped(heading));
    }
    html += "<th></th></tr>\n";
    for (name, numbers, value) in rows {
        let _ = write!(html, "<tr><td>{}</td>", escaped(name));
        for number in numbers {
            let _ = write!(html, "<td class=\"n\">{}</td>", escaped(number));
        }
        let width = 100.0 * *value as f64 / most as f64;
        let _ = writeln!(
            html,
            "<td style=\"width:45%\"><span class=\"bar\" style=\"width:{width:.1}%\"></span></td></tr>"
        );
    }
    html + "</table>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_heights_are_proportional_to_the_counts() {
        let svg = histogram("sizes", [("a", 5), ("<b>", 10), ("c", 0)].into_iter());
        let heights: Vec<&str> = svg
            .lines()
            .filter_map(|l| {
                l.strip_prefix("<rect")?
                    .split("height=\"")
                    .nth(1)?
                    .split('"')
                    .next()
            })
            .collect();
        assert_eq!(heights, ["60.0", "120.0", "0.0"]);
        assert!(svg.contains("&lt;b&gt;: 10") && !svg.contains("<b>"));
        assert_eq!(histogram("none", [("a", 0)].into_iter()), "");
        assert_eq!(
            [7, 9999, 12_345, 3_400_000].map(short),
            ["7", "9999", "12k", "3.4M"]
        );
    }

    #[test]
    fn the_largest_row_has_a_full_bar() {
        let rows = [
            ("a".to_owned(), vec!["3".to_owned()], 3),
            ("b".to_owned(), vec!["6".to_owned()], 6),
        ];
        let html = table_with_bars(&["class", "examples"], &rows);
        assert!(
            html.contains("width:50.0%") && html.contains("width:100.0%"),
            "{html}"
        );
        assert!(table_with_bars(&["class"], &[]).ends_with("</table>\n"));
    }
}

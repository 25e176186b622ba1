//! Formats the statistics of a split as text.

use super::measure::Stats;
use super::{Spread, percent};
use cvhost_report::survey::histogram::Histogram;
use std::fmt::Write;

/// The maximum number of classes listed.
const MAX_CLASSES: usize = 40;
/// The length of the longest bar, in characters.
const BAR: u64 = 30;

/// Formats all measurements; ends with an empty line.
pub fn text(stats: &Stats) -> String {
    let mut text = format!("{}\n", stats.split);
    let formats = stats
        .formats
        .iter()
        .map(|(name, count)| format!("{count} {name}"));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:12}  {value}");
    };
    line("records", stats.records.to_string());
    line(
        "images",
        format!("{} ({})", stats.images, formats.collect::<Vec<_>>().join(", ")),
    );
    for (count, what) in [
        (stats.unreadable, "can't be read; `cvhost data check` lists them"),
        (stats.misnamed, "have a file extension of another format"),
        (stats.turned, "are rotated by their EXIF orientation"),
    ] {
        if count > 0 {
            line("", format!("{count} {what}"));
        }
    }
    for (name, spread) in [("width", stats.widths()), ("height", stats.heights())] {
        if let Some(Spread { min, median, max }) = spread {
            line(name, format!("{min} to {max}, median {median}"));
        }
    }
    if let Some((mean, std)) = stats.pixels.mean_and_std() {
        let three = |v: [f64; 3]| v.map(|v| format!("{v:.3}")).join(", ");
        line(
            "pixel mean",
            format!("[{}]  over {} images", three(mean), stats.pixels.images),
        );
        line("pixel std", format!("[{}]", three(std)));
    }
    if stats.objects.total() > 0 {
        let mean = stats.object_count as f64 / stats.objects.total() as f64;
        line("objects", format!("{}, {mean:.1} per record", stats.object_count));
    }
    bars(&mut text, "width : height", &stats.aspect_ratio);
    if stats.objects.total() > 0 {
        bars(&mut text, "objects per record", &stats.objects);
    }
    if stats.boxes > 0 {
        bars(&mut text, "box area in pixels", &stats.box_area);
        bars(&mut text, "box size relative to the image", &stats.box_size);
    }
    classes(&mut text, stats);
    text
}

/// Formats a histogram, with a line for each bin that isn't empty.
fn bars(text: &mut String, title: &str, histogram: &Histogram) {
    let most = histogram.bins().map(|(_, count)| count).max().unwrap_or(0);
    if most == 0 {
        return;
    }
    let _ = writeln!(text, "  {title}");
    for (label, count) in histogram.bins().filter(|(_, count)| *count > 0) {
        bar(text, label, 18, count, most, histogram.total());
    }
}

fn bar(text: &mut String, label: &str, width: usize, count: u64, most: u64, total: u64) {
    let length = (count * BAR).div_ceil(most.max(1)) as usize;
    let share = percent(count, total);
    let bar = "█".repeat(length);
    let _ = writeln!(text, "    {label:width$} {count:>8} {share:>5.1} %  {bar}");
}

fn classes(text: &mut String, stats: &Stats) {
    let classes = stats.classes();
    if classes.is_empty() {
        return;
    }
    let _ = writeln!(text, "  classes: {}", classes.len());
    let most = classes.first().map_or(0, |(_, examples, _)| *examples);
    let width = classes
        .iter()
        .take(MAX_CLASSES)
        .map(|(name, ..)| name.chars().count())
        .max();
    for (name, examples, _) in classes.iter().take(MAX_CLASSES) {
        bar(
            text,
            name,
            width.unwrap_or(0).max(18),
            *examples,
            most,
            stats.counts.total(),
        );
    }
    if classes.len() > MAX_CLASSES {
        let _ = writeln!(
            text,
            "    … and {} more; --json and --html list all",
            classes.len() - MAX_CLASSES
        );
    }
}

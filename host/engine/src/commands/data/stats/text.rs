//! The stats of a split as text.

use super::measure::Stats;
use super::{Spread, percent};
use cvhost_report::survey::histogram::Histogram;
use std::fmt::Write;

/// So many classes are listed.
const MOST_CLASSES: usize = 40;
/// The longest bar, in letters.
const BAR: u64 = 30;

/// Everything that was measured, for people; ends with an empty line.
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
        "pictures",
        format!("{} ({})", stats.images, formats.collect::<Vec<_>>().join(", ")),
    );
    for (count, what) in [
        (stats.unreadable, "can't be read; `cvhost data check` says which"),
        (stats.misnamed, "have a name that says another format"),
        (stats.turned, "are turned by their EXIF data"),
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
            format!("[{}]  of {} images", three(mean), stats.pixels.images),
        );
        line("pixel std", format!("[{}]", three(std)));
    }
    if stats.objects.total() > 0 {
        let mean = stats.object_count as f64 / stats.objects.total() as f64;
        line("objects", format!("{}, {mean:.1} a record", stats.object_count));
    }
    bars(&mut text, "width : height", &stats.aspect_ratio);
    if stats.objects.total() > 0 {
        bars(&mut text, "objects of a record", &stats.objects);
    }
    if stats.boxes > 0 {
        bars(&mut text, "area of boxes, in pixels", &stats.box_area);
        bars(&mut text, "side of boxes, by the image's", &stats.box_size);
    }
    classes(&mut text, stats);
    text
}

/// A histogram with a line for each bin that holds something.
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
        .take(MOST_CLASSES)
        .map(|(name, ..)| name.chars().count())
        .max();
    for (name, examples, _) in classes.iter().take(MOST_CLASSES) {
        bar(
            text,
            name,
            width.unwrap_or(0).max(18),
            *examples,
            most,
            stats.counts.total(),
        );
    }
    if classes.len() > MOST_CLASSES {
        let _ = writeln!(
            text,
            "    … and {} more; --json and --html have all",
            classes.len() - MOST_CLASSES
        );
    }
}

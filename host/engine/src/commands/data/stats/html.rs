//! Formats the statistics of all splits as an HTML page.

use super::measure::Stats;
use super::{Measured, Spread, percent};
use cvhost::error::Result;
use cvhost_data::{Source, decode};
use cvhost_report::page;
use cvhost_report::sketch;
use cvhost_report::survey::histogram::Histogram;
use std::fmt::Write;

/// The number of images shown per split, and the maximum side of each in pixels.
const IMAGES: usize = 12;
const SIDE: u32 = 320;

/// Builds the page. `config` is the name of the configuration, `seed` is the seed of the image sample.
pub fn page(config: &str, seed: u64, splits: &[Measured]) -> Result<String> {
    let mut body = format!(
        "<h1>Data of {}</h1>\n<p class=\"dim\">cvhost {}, images sampled with seed {seed}</p>\n",
        page::escaped(config),
        env!("CARGO_PKG_VERSION")
    );
    for (stats, data) in splits {
        let _ = writeln!(body, "<h2>{}</h2>", stats.split);
        body += "<div class=\"cards\">\n";
        let _ = writeln!(body, "<div class=\"card\">{}</div>", page::facts(&facts(stats)));
        for (title, histogram) in [
            ("Aspect ratio (width : height) of the images", &stats.aspect_ratio),
            ("Objects per record", &stats.objects),
            ("Box area in pixels", &stats.box_area),
            ("Box size relative to the image", &stats.box_size),
        ] {
            body += &chart(title, histogram);
        }
        body += "</div>\n";
        body += &classes(stats);
        body += &images(stats, data.source.as_ref())?;
    }
    Ok(page::page(&format!("Data of {config}"), &body))
}

fn facts(stats: &Stats) -> Vec<(&'static str, String)> {
    let formats = stats
        .formats
        .iter()
        .map(|(name, count)| format!("{count} {name}"));
    let mut rows = vec![
        ("records", stats.records.to_string()),
        (
            "images",
            format!("{} ({})", stats.images, formats.collect::<Vec<_>>().join(", ")),
        ),
    ];
    for (name, count) in [
        ("unreadable", stats.unreadable),
        ("extension of another format", stats.misnamed),
        ("rotated by EXIF orientation", stats.turned),
    ] {
        if count > 0 {
            rows.push((name, count.to_string()));
        }
    }
    for (name, spread) in [("width", stats.widths()), ("height", stats.heights())] {
        if let Some(Spread { min, median, max }) = spread {
            rows.push((name, format!("{min} to {max}, median {median}")));
        }
    }
    if stats.objects.total() > 0 {
        let mean = stats.object_count as f64 / stats.objects.total() as f64;
        rows.push(("objects", format!("{}, {mean:.1} per record", stats.object_count)));
    }
    if let Some((mean, std)) = stats.pixels.mean_and_std() {
        let three = |v: [f64; 3]| v.map(|v| format!("{v:.3}")).join(", ");
        rows.push(("pixel mean", three(mean)));
        rows.push(("pixel std", three(std)));
        rows.push((
            "",
            format!("red, green, blue over {} images", stats.pixels.images),
        ));
    }
    rows
}

fn chart(title: &str, histogram: &Histogram) -> String {
    let drawing = page::histogram(title, histogram.bins());
    if drawing.is_empty() {
        return drawing;
    }
    format!(
        "<div class=\"card\"><h3>{}</h3>{drawing}</div>\n",
        page::escaped(title)
    )
}

fn classes(stats: &Stats) -> String {
    let classes = stats.classes();
    if classes.is_empty() {
        return String::new();
    }
    let total = stats.counts.total();
    let row = |(name, examples, records): &(&str, u64, u64)| {
        let numbers = vec![
            examples.to_string(),
            format!("{:.1} %", percent(*examples, total)),
            records.to_string(),
        ];
        ((*name).to_owned(), numbers, *examples)
    };
    let rows: Vec<_> = classes.iter().map(row).collect();
    format!(
        "<div class=\"card\"><h3>Classes: {}</h3>{}</div>\n",
        classes.len(),
        page::table_with_bars(&["class", "examples", "share", "records"], &rows)
    )
}

/// The first readable images of the sample, with their targets.
fn images(stats: &Stats, source: &dyn Source) -> Result<String> {
    let mut figures = String::new();
    let mut left = IMAGES;
    for &index in &stats.sample {
        if left == 0 {
            break;
        }
        let record = source.record(index)?;
        let Some(image) = record.images.first().and_then(|source| decode(source).ok()) else {
            continue;
        };
        left -= 1;
        let (mut small, scale) = sketch::fitted(&image, SIDE, SIDE)?;
        sketch::draw(
            &mut small,
            scale,
            &record.fields,
            record.region.as_ref(),
            &stats.spec,
        )?;
        let name = match record.name.as_str() {
            "" => format!("record {index}"),
            name => name.to_owned(),
        };
        figures += &page::figure(&small, &name, &sketch::caption(&record.fields, &stats.spec))?;
    }
    if figures.is_empty() {
        return Ok(figures);
    }
    Ok(format!("<div class=\"pictures\">\n{figures}</div>\n"))
}

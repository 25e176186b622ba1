//! Writes a CSV file without its invalid rows.

use crate::config::DataKeys;
use crate::dataset;
use crate::found::{Fixed, Source};
use crate::table::{self, Lines};
use csv::{ByteRecord, ReaderBuilder};
use cvhost_plugin_api::data::{OpenArgs, Repair};
use cvhost_plugin_api::{PluginError, Result};

/// Repairs a split's file: valid rows are copied unchanged.
///
/// # Errors
/// Class folders, and a file that can't be read at all.
pub fn repair(args: &OpenArgs) -> Result<Repair> {
    let split = args.split.as_str();
    let keys = DataKeys::read(&args.config)?;
    let (source, _) = Source::of(&args.images, &args.annotations, split, keys.format)?;
    let Source::Table { file, .. } = &source else {
        let what = format!(
            "{}: class folders have no file to repair",
            source.name().display()
        );
        return Err(PluginError::unsupported(what).with_help("move or delete the files listed in the report"));
    };
    let fixed = Fixed::of(args, keys.multi_label, keys.format);
    let mut found = dataset::read(&source, &fixed, split)?;
    let faults = std::mem::take(&mut found.faults).into_result("", "");
    let reports = faults.err().map(|error| error.details).unwrap_or_default();
    let mut wrong = found.wrong_lines;
    wrong.sort_unstable();

    let failed =
        |e: &dyn std::fmt::Display| PluginError::data(format!("cannot read {}: {e}", file.display()));
    let bytes = std::fs::read(file).map_err(|e| failed(&e))?;
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut reader = ReaderBuilder::new()
        .delimiter(table::delimiter(file).unwrap_or(b','))
        .flexible(true)
        .has_headers(false)
        .from_reader(text);
    let mut lines = Lines::new(text);
    let (mut record, mut rows) = (ByteRecord::new(), Vec::new());
    while reader.read_byte_record(&mut record).map_err(|e| failed(&e))? {
        let start = record.position().map_or(0, |p| p.byte() as usize);
        rows.push((start, wrong.binary_search(&lines.of(start)).is_err()));
    }
    let ends = rows.iter().skip(1).map(|(start, _)| *start).chain([text.len()]);
    let mut kept = Vec::with_capacity(text.len());
    for ((start, stays), end) in rows.iter().zip(ends) {
        if *stays {
            kept.extend_from_slice(text.get(*start..end).unwrap_or_default());
        }
    }
    let stem = file.file_stem().map(|s| s.to_string_lossy()).unwrap_or_default();
    let ending = file.extension().map_or("csv".into(), |e| e.to_string_lossy());
    let path = file.with_file_name(format!("{stem}.repaired.{ending}"));
    let changes = reports.iter().map(|line| format!("dropped: {line}"));
    Ok(Repair::file(path.to_string_lossy(), kept, changes))
}

//! CSV and TSV files: a column with the image's file name, and either a column with its label or
//! one column per class.

use crate::found::Found;
use csv::{ByteRecord, ReaderBuilder};
use cvhost_plugin_api::data::Problem;
use cvhost_plugin_api::{PluginError, Result};
use std::collections::HashMap;
use std::path::Path;

/// Names of the file name column, ignoring case; the first one present is used.
const IMAGE_COLUMNS: [&str; 6] = ["image", "filename", "file_name", "file", "path", "image_path"];
/// Names of the label column, ignoring case.
const LABEL_COLUMNS: [&str; 5] = ["label", "class", "class_name", "category", "labels"];
/// Separators between several labels in one cell.
const SEPARATORS: [char; 2] = ['|', ';'];

const RAGGED: &str = "rows with a wrong number of cells";
const UNLABELLED: &str = "images without a label";
const BROKEN: &str = "rows that can't be read";
const CELLS: &str = "cells that are neither 0 nor 1";
const REPEATED: &str = "repeated images";

/// The delimiter of such a file; `None` for other file types.
pub fn delimiter(file: &Path) -> Option<u8> {
    match file.extension()?.to_string_lossy().to_lowercase().as_str() {
        "csv" => Some(b','),
        "tsv" => Some(b'\t'),
        _ => None,
    }
}

/// The meaning of the columns.
#[derive(Debug)]
enum Layout {
    Label { image: usize, label: usize },
    Columns { image: usize, classes: Vec<usize> },
}

/// Reads a file without checking whether its images exist. With `multi_label: None`, whether images
/// may have several labels is inferred from the file.
pub fn read(file: &Path, multi_label: Option<bool>, split: &str) -> Result<Found> {
    let key = format!("data.{split}_annotation_file");
    let bytes = std::fs::read(file).map_err(|e| {
        PluginError::config(&key, format!("cannot read {}: {e}", file.display()))
            .with_help(format!("`{key}` must be a CSV or TSV file"))
    })?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(PluginError::data(format!("{} is UTF-16", file.display())).with_help("save it as UTF-8"));
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter(file).unwrap_or(b','))
        .flexible(true)
        .has_headers(false)
        .from_reader(text);
    let mut record = ByteRecord::new();
    let failed = |e: csv::Error| PluginError::data(format!("cannot read {}: {e}", file.display()));
    if !reader.read_byte_record(&mut record).map_err(failed)? {
        return Err(PluginError::data(format!("{} is empty", file.display())).with_help(expected()));
    }
    let header = cells(&record)
        .map_err(|()| PluginError::data(format!("{}: the header is not UTF-8", file.display())))?;
    let header: Vec<String> = header.into_iter().map(str::to_owned).collect();
    let (layout, warning) = layout(&header).map_err(|what| {
        PluginError::data(format!("{}: {what}", file.display()))
            .with_details([format!("line 1: {}", header.join(", "))])
            .with_help(expected())
    })?;

    let mut rows = Rows::new(multi_label, header);
    if let Layout::Columns { classes, .. } = &layout {
        rows.found.multi_label = multi_label.unwrap_or(true);
        for &column in classes {
            let name = rows.header.get(column).cloned().unwrap_or_default();
            rows.label(&name);
        }
    }
    let mut lines = Lines::new(text);
    while reader.read_byte_record(&mut record).map_err(failed)? {
        let line = lines.of(record.position().map_or(0, |p| p.byte() as usize));
        rows.add(&record, line, &layout);
    }
    if rows.found.records.len() == 0 && rows.found.faults.is_empty() {
        return Err(PluginError::data(format!(
            "{}: the {split} split has no images: there are no rows below the header",
            file.display()
        ))
        .with_help(format!("check `{key}`")));
    }
    let mut found = rows.finish();
    found
        .warnings
        .extend(warning.map(|w| Problem::warning(format!("{}: {w}", file.display()))));
    Ok(found)
}

fn expected() -> String {
    format!(
        "the first line must name the columns: one of {} for the file name, and one of {} for the \
         label, or one column per class with 0 and 1",
        IMAGE_COLUMNS.join(", "),
        LABEL_COLUMNS.join(", ")
    )
}

/// The meaning of the columns, and a warning about unused ones.
fn layout(header: &[String]) -> std::result::Result<(Layout, Option<String>), String> {
    let lower: Vec<String> = header.iter().map(|h| h.to_lowercase()).collect();
    let image = IMAGE_COLUMNS
        .iter()
        .find_map(|name| lower.iter().position(|h| h == name))
        .ok_or("no column with the file names of the images")?;
    let labels: Vec<usize> = (0..lower.len())
        .filter(|&i| i != image && lower.get(i).is_some_and(|h| LABEL_COLUMNS.contains(&h.as_str())))
        .collect();
    let name = |i: usize| header.get(i).map_or("", String::as_str);
    match labels.as_slice() {
        [label] => {
            let others: Vec<String> = (0..header.len())
                .filter(|i| i != label && *i != image)
                .map(|i| format!("`{}`", name(i)))
                .collect();
            let warning = (!others.is_empty()).then(|| {
                format!(
                    "the file names are in column `{}`, the labels in `{}`; not used: {}",
                    name(image),
                    name(*label),
                    others.join(", ")
                )
            });
            Ok((Layout::Label { image, label: *label }, warning))
        }
        [] => {
            let classes: Vec<usize> = (0..header.len()).filter(|&i| i != image).collect();
            if classes.is_empty() {
                return Err("there is no column for the labels".to_owned());
            }
            if let Some(&i) = classes.iter().find(|&&i| name(i).is_empty()) {
                return Err(format!("column {} has no name", i + 1));
            }
            let mut names: Vec<&str> = classes.iter().map(|&i| name(i)).collect();
            names.sort_unstable();
            match names.windows(2).find(|pair| pair.first() == pair.last()) {
                Some(pair) => Err(format!("two columns are named `{}`", pair.first().unwrap_or(&""))),
                None => Ok((Layout::Columns { image, classes }, None)),
            }
        }
        several => {
            let names: Vec<String> = several.iter().map(|&i| format!("`{}`", name(i))).collect();
            Err(format!(
                "several columns could have the label: {}",
                names.join(", ")
            ))
        }
    }
}

/// The trimmed cells of a row; `Err` if they aren't UTF-8.
fn cells(record: &ByteRecord) -> std::result::Result<Vec<&str>, ()> {
    record
        .iter()
        .map(|cell| std::str::from_utf8(cell).map(str::trim).map_err(|_| ()))
        .collect()
}

/// Converts increasing byte offsets to line numbers from 1.
pub struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Lines { text, at: 0, line: 1 }
    }

    /// The line of the first row at or after `offset`; line breaks and empty lines before it are
    /// skipped.
    pub fn of(&mut self, offset: usize) -> u32 {
        let blank = |b: Option<&u8>| matches!(b, Some(b'\r' | b'\n'));
        while self.at < offset || blank(self.text.get(self.at)) {
            self.line += u32::from(self.text.get(self.at) == Some(&b'\n'));
            self.at += 1;
        }
        self.line
    }
}

/// Collects the rows.
struct Rows {
    header: Vec<String>,
    multi_label: Option<bool>,
    found: Found,
    labels: HashMap<String, u32>,
    /// Lines and names of images without labels.
    unlabelled: Vec<(u32, String)>,
}

impl Rows {
    fn new(multi_label: Option<bool>, header: Vec<String>) -> Self {
        Rows {
            header,
            multi_label,
            found: Found {
                multi_label: multi_label.unwrap_or(false),
                ..Found::default()
            },
            labels: HashMap::new(),
            unlabelled: Vec::new(),
        }
    }

    /// The number of a class, newly assigned if the class is new.
    fn label(&mut self, name: &str) -> u32 {
        if let Some(&label) = self.labels.get(name) {
            return label;
        }
        let label = self.found.classes.len() as u32;
        self.labels.insert(name.to_owned(), label);
        self.found.classes.push(name.to_owned());
        label
    }

    fn add(&mut self, record: &ByteRecord, line: u32, layout: &Layout) {
        let Ok(cells) = cells(record) else {
            self.found.wrong(BROKEN, line, || "not UTF-8".to_owned());
            return;
        };
        let wanted = self.header.len();
        if cells.len() != wanted {
            let count = cells.len();
            self.found.wrong(RAGGED, line, || {
                format!("{count} cells, but the header has {wanted}")
            });
            return;
        }
        let (Layout::Label { image, .. } | Layout::Columns { image, .. }) = layout;
        let mut name = cells.get(*image).copied().unwrap_or_default();
        while let Some(rest) = name.strip_prefix("./") {
            name = rest;
        }
        if name.is_empty() {
            self.found
                .wrong(BROKEN, line, || "the file name is empty".to_owned());
            return;
        }
        let labels = match layout {
            Layout::Label { label, .. } => self.split(cells.get(*label).copied().unwrap_or_default()),
            Layout::Columns { classes, .. } => match self.marked(&cells, classes, line) {
                Some(labels) => labels,
                None => return,
            },
        };
        if labels.is_empty() {
            self.unlabelled.push((line, name.to_owned()));
        }
        self.found.records.push(name, &labels);
        self.found.lines.push(line);
    }

    /// The labels of one cell.
    fn split(&mut self, cell: &str) -> Vec<u32> {
        if self.multi_label == Some(false) || !cell.contains(SEPARATORS) {
            return if cell.is_empty() {
                Vec::new()
            } else {
                vec![self.label(cell)]
            };
        }
        self.found.multi_label = true;
        let parts = cell.split(SEPARATORS).map(str::trim).filter(|p| !p.is_empty());
        let mut labels: Vec<u32> = parts.map(|part| self.label(part)).collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    }

    /// The classes whose columns are marked. `None`, with a fault, if a cell is neither 0 nor 1, or
    /// if several are marked in a single-label dataset.
    fn marked(&mut self, cells: &[&str], columns: &[usize], line: u32) -> Option<Vec<u32>> {
        let mut labels = Vec::new();
        for (label, &column) in (0..).zip(columns) {
            let cell = cells.get(column).copied().unwrap_or_default();
            match cell.to_ascii_lowercase().as_str() {
                "1" | "1.0" | "true" => labels.push(label),
                "0" | "0.0" | "false" => {}
                _ => {
                    let name = self.header.get(column).cloned().unwrap_or_default();
                    self.found.wrong(CELLS, line, || {
                        format!("column `{name}` has `{cell}`, which is neither 0 nor 1")
                    });
                    return None;
                }
            }
        }
        if labels.len() > 1 && !self.found.multi_label {
            let count = labels.len();
            self.found.wrong("images with several labels", line, || {
                format!("{count} classes are marked, but `data.multi_label` is false")
            });
            return None;
        }
        Some(labels)
    }

    fn finish(self) -> Found {
        let Rows {
            mut found,
            unlabelled,
            ..
        } = self;
        if !found.multi_label {
            for (line, name) in unlabelled {
                found.wrong(UNLABELLED, line, || format!("{name} has no label"));
            }
        }
        repeated(&mut found);
        found
    }
}

/// Adds a fault for each repeated image. If its labels differ, both rows are invalid.
fn repeated(found: &mut Found) {
    let records = &found.records;
    let mut order: Vec<usize> = (0..records.len()).collect();
    order.sort_by(|&a, &b| records.name(a).cmp(records.name(b)));
    let mut pairs = Vec::new();
    let mut first = None;
    for &index in &order {
        match first {
            Some(one) if records.name(one) == records.name(index) => pairs.push((one, index)),
            _ => first = Some(index),
        }
    }
    for (one, index) in pairs {
        let line = |i: usize| found.lines.get(i).copied().unwrap_or(0);
        let (before, here) = (line(one), line(index));
        let same = found.records.labels(one) == found.records.labels(index);
        let name = found.records.name(index).to_owned();
        let other = if same { "" } else { ", with another label" };
        if !same {
            found.wrong_lines.push(before);
        }
        found.wrong(REPEATED, here, || {
            format!("{name} already occurs in line {before}{other}")
        });
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

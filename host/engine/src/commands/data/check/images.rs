//! Checks every record of a split with its images and targets.

use super::duplicates::{Place, Seen};
use super::report::{Finding, Kind, Report, Severity};
use cvhost::cli::Split;
use cvhost::error::{Error, Result};
use cvhost::progress::Pass;
use cvhost_data::{DataSetSource, Measured, Source, shape_of};
use cvhost_plugin_api::abi::InputBox;
use cvhost_plugin_api::data::{ImageSource, Record, RecordMeta};
use cvhost_report::survey::counts::Counts;
use cvhost_report::survey::image_file::{self, Files, Hash, named_format};
use cvhost_report::survey::ordered;
use cvhost_report::survey::targets::{self, Misfit, Objects};

/// The model's input side, for checks.
pub struct Input<'a> {
    pub input: &'a InputBox,
    /// Stride of the model's coarsest feature map in input pixels; 0 if the adapter doesn't report
    /// it.
    pub stride: u64,
}

/// Options for checking a split.
pub struct CheckOptions<'a> {
    /// The model's input side, if the model is on this machine.
    pub input: Option<&'a Input<'a>>,
    pub threads: usize,
    /// The severity of an unreadable image: with `data.broken_files: skip`, training omits it.
    pub broken: Severity,
}

/// Counts over a split.
#[derive(Debug, Default)]
pub struct Tally {
    pub records: usize,
    /// The number of image files, and of images without a file.
    pub images: usize,
    pub boxes: u64,
    pub counts: Counts,
    /// The number of boxes smaller than the model's stride, and per record.
    small: u64,
    with_small: Vec<(u32, u32)>,
    /// Records without any object.
    empty: Vec<u32>,
}

/// The result of inspecting one record.
#[derive(Default)]
struct Inspected {
    findings: Vec<Finding>,
    hashes: Vec<(u16, Hash)>,
    /// Whether the record covers only a part of its image.
    part: bool,
    /// The files of its images; empty for images without a file.
    files: Vec<String>,
    boxes: u64,
    small: u32,
    empty: bool,
    classes: Vec<i64>,
}

/// Reads every image of a split and compares it with the annotations. `number` is the index of the
/// split in `seen`.
pub fn check(
    (split, number): (Split, usize),
    data_set: &DataSetSource,
    options: &CheckOptions<'_>,
    seen: &mut Seen,
    report: &mut Report,
) -> Result<Tally> {
    let count = Source::len(data_set);
    let mut tally = Tally {
        records: count,
        counts: Counts::new(data_set.spec()),
        ..Tally::default()
    };
    let pass = Pass::new(split.name(), count as u64, 0);
    let mut files = Files::default();
    let take = |index: usize, inspected: Inspected| {
        pass.step(String::new);
        let record = index as u32;
        for (image, hash) in inspected.hashes {
            let place = Place {
                split: number,
                record,
                image,
                whole: !inspected.part,
            };
            seen.add(hash, place);
        }
        tally.images += inspected.files.iter().filter(|file| files.is_new(file)).count();
        tally.boxes += inspected.boxes;
        tally.counts.add(&inspected.classes);
        if inspected.small > 0 {
            tally.small += u64::from(inspected.small);
            tally.with_small.push((record, inspected.small));
        }
        if inspected.empty {
            tally.empty.push(record);
        }
        inspected.findings.into_iter().for_each(|f| report.add(f));
        Ok(())
    };
    let look = |index| Inspected::at(index, split, data_set, options);
    ordered::for_each(count, options.threads, look, take)?;
    let stride = options.input.map_or(0, |input| input.stride);
    for finding in tally.findings(split, data_set, stride) {
        report.add(finding);
    }
    Ok(tally)
}

/// The name of a record in messages.
pub fn name_of(record: &Record, index: usize) -> String {
    if record.name.is_empty() {
        format!("record {index}")
    } else {
        record.name.to_string()
    }
}

/// Like [`name_of`], for a record that is loaded again; also returns the file of one of its images.
pub fn names(data_set: &DataSetSource, index: u32, image: usize) -> (String, String) {
    let record = Source::record(data_set, index as usize).unwrap_or_default();
    let file = record
        .images
        .get(image)
        .map_or_else(String::new, |p| p.path.to_string());
    (name_of(&record, index as usize), file)
}

impl Inspected {
    /// Inspects a record: its annotations, each of its images, and whether they match.
    fn at(index: usize, split: Split, data_set: &DataSetSource, options: &CheckOptions<'_>) -> Self {
        let mut inspected = Inspected::default();
        let refused = |e: Error| with_error(Finding::error(Kind::Records, split, ""), e);
        let nameless = format!("record {index}");
        let meta = data_set.meta(index).unwrap_or_else(|e| {
            inspected.findings.push(refused(e).of(&nameless, ""));
            RecordMeta::default()
        });
        inspected.classes = meta.classes.to_vec();
        let record = match Source::record(data_set, index) {
            Ok(record) => record,
            Err(e) => {
                inspected.findings.push(refused(e).of(&nameless, ""));
                return inspected;
            }
        };
        let name = name_of(&record, index);
        inspected.part = record.region.is_some();
        inspected.empty = targets::objects(&record.fields) == Objects::Count(0);
        let boxes = targets::boxes(&record.fields);
        inspected.boxes = boxes.len() as u64;
        let measured: Vec<Option<Measured>> = (0..)
            .zip(&record.images)
            .map(|(number, source)| inspected.image(split, options, &name, number, source))
            .collect();
        inspected.files = record.images.iter().map(|p| p.path.to_string()).collect();
        let Some(measured) = measured.first().copied().flatten() else {
            return inspected;
        };
        let file = record.images.first().map_or("", |p| p.path.as_str());
        inspected.fit(split, &meta, &measured, &record, (&name, file));
        if let Some(input) = options.input {
            match small_boxes(&record, (measured.width, measured.height), &boxes, input) {
                Ok(small) => inspected.small = small,
                Err(e) => inspected.findings.push(refused(e).of(&name, file)),
            }
        }
        inspected
    }

    /// Reads an image of a record.
    fn image(
        &mut self,
        split: Split,
        options: &CheckOptions<'_>,
        name: &str,
        number: u16,
        source: &ImageSource,
    ) -> Option<Measured> {
        let file = source.path.as_str();
        let seen = match image_file::look(source) {
            Ok(seen) => seen,
            Err(e) => {
                let finding = Finding::new(options.broken, Kind::UnreadableImages, split, "");
                self.findings.push(with_error(finding, e).of(name, file));
                return None;
            }
        };
        self.hashes.push((number, seen.hash));
        let format = seen.measured.format;
        if let Some(named) = named_format(file).filter(|named| *named != format) {
            let message = format!("{file} has a {named} extension, but is a {format} file");
            let finding = Finding::info(Kind::FileNames, split, message);
            self.findings.push(finding.of(name, file));
        }
        Some(seen.measured)
    }

    /// Compares a record with its image: the size in the annotations, and the targets.
    fn fit(
        &mut self,
        split: Split,
        meta: &RecordMeta,
        measured: &Measured,
        record: &Record,
        (name, file): (&str, &str),
    ) {
        if let Some(message) = size_mismatch(meta, measured) {
            let finding = Finding::error(Kind::ImageSizes, split, message).with_help(
                "so the targets are in the wrong places: use the images that were annotated, or \
                 annotate these in upright orientation",
            );
            self.findings.push(finding.of(name, file));
        }
        for misfit in targets::misfits(&record.fields, measured.width, measured.height) {
            let finding = match misfit {
                Misfit::Wrong(message) => Finding::error(Kind::Targets, split, message),
                Misfit::Outside(message) => Finding::warning(Kind::Targets, split, message),
            };
            self.findings.push(finding.of(name, file));
        }
    }
}

/// Adds an error's message and help to a finding. Details of the error become those of the finding.
fn with_error(mut finding: Finding, error: Error) -> Finding {
    let mut parts = error.context;
    parts.push(error.what);
    finding.message = parts.join(": ");
    finding.details = error.details;
    finding.with_help(error.help.unwrap_or_default())
}

/// Describes a mismatch between the size in the annotations, if given, and the image.
fn size_mismatch(meta: &RecordMeta, measured: &Measured) -> Option<String> {
    let (said, found) = ((meta.width, meta.height), (measured.width, measured.height));
    if meta.width == 0 || meta.height == 0 || said == found {
        return None;
    }
    let swapped = said == (found.1, found.0);
    let why = if swapped && measured.turned {
        ": its EXIF orientation rotates it, and the annotations have the size before that"
    } else if swapped {
        ": width and height are swapped"
    } else {
        ""
    };
    Some(format!(
        "the annotations have a size of {}x{}, but the image has {}x{}{why}",
        said.0, said.1, found.0, found.1
    ))
}

/// Counts the boxes whose width and height are both below the stride in the model's input.
fn small_boxes(record: &Record, image: (u32, u32), boxes: &[[f64; 4]], input: &Input<'_>) -> Result<u32> {
    if boxes.is_empty() || input.stride == 0 {
        return Ok(0);
    }
    let (width, height) = match record.region.as_ref() {
        Some(region) => (region.width.round() as u32, region.height.round() as u32),
        None => image,
    };
    let shape = shape_of(input.input, (width.max(1), height.max(1)), false)?;
    let side = |back: usize| shape.dims.iter().rev().nth(back).map_or(0.0, |d| *d as f64);
    let scale = (
        side(0) / f64::from(width.max(1)),
        side(1) / f64::from(height.max(1)),
    );
    let stride = input.stride as f64;
    let small = |[x1, y1, x2, y2]: &&[f64; 4]| (x2 - x1) * scale.0 < stride && (y2 - y1) * scale.1 < stride;
    Ok(boxes.iter().filter(small).count() as u32)
}

impl Tally {
    /// Findings that concern the split as a whole.
    fn findings(&self, split: Split, data_set: &DataSetSource, stride: u64) -> Vec<Finding> {
        let mut all = super::classes::findings(split, data_set.spec(), &self.counts);
        if self.small > 0 {
            let percentage = 100.0 * self.small as f64 / self.boxes.max(1) as f64;
            let message = format!(
                "{} of {} boxes ({percentage:.1} %) are smaller than the model's stride of \
                 {stride} pixels on both sides in its input",
                self.small, self.boxes
            );
            let named = |(record, count): &(u32, u32)| format!("{}: {count}", names(data_set, *record, 0).0);
            let finding = Finding::warning(Kind::SmallBoxes, split, message)
                .with_details(self.with_small.iter().map(named).collect())
                .with_help("a larger data.image_size or splitting the images into tiles makes them larger");
            all.push(finding);
        }
        if !self.empty.is_empty() {
            let percentage = 100.0 * self.empty.len() as f64 / self.records.max(1) as f64;
            let message = format!("{} of {} ({percentage:.1} %)", self.empty.len(), self.records);
            let details = self.empty.iter().map(|record| names(data_set, *record, 0).0);
            all.push(Finding::info(Kind::NoObjects, split, message).with_details(details.collect()));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_mismatch_mentions_exif_rotation() {
        let say = |width, height, turned| {
            let meta = RecordMeta {
                width: 40,
                height: 30,
                ..Default::default()
            };
            let measured = Measured {
                format: "JPEG",
                width,
                height,
                turned,
            };
            size_mismatch(&meta, &measured).unwrap_or_default()
        };
        assert_eq!(say(40, 30, true), "");
        assert_eq!(
            say(80, 60, true),
            "the annotations have a size of 40x30, but the image has 80x60"
        );
        assert!(say(30, 40, true).contains("EXIF"));
        assert!(say(30, 40, false).contains("swapped"));
        assert_eq!(
            size_mismatch(
                &RecordMeta::default(),
                &Measured {
                    format: "PNG",
                    width: 1,
                    height: 1,
                    turned: false
                }
            ),
            None
        );
    }
}

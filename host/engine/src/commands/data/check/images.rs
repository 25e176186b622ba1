//! Every record of a split with its images and targets.

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

/// The model's side of a check.
pub struct Input<'a> {
    pub input: &'a InputBox,
    /// Pixels of the model's input for one position of its coarsest feature map; 0 where it doesn't say.
    pub stride: u64,
}

/// How a split is checked.
pub struct How<'a> {
    /// The model's side, if the model is on this machine.
    pub input: Option<&'a Input<'a>>,
    pub threads: usize,
    /// How bad an image is that can't be read: `data.broken_files: skip` trains without it.
    pub broken: Severity,
}

/// What a check counts over a split.
#[derive(Debug, Default)]
pub struct Tally {
    pub records: usize,
    /// Files, and images that no file holds.
    pub images: usize,
    pub boxes: u64,
    pub counts: Counts,
    /// Boxes below the model's stride, and the records that have them with their number.
    small: u64,
    with_small: Vec<(u32, u32)>,
    /// Records without any object.
    empty: Vec<u32>,
}

/// What one thread saw of one record.
#[derive(Default)]
struct Looked {
    findings: Vec<Finding>,
    hashes: Vec<(u16, Hash)>,
    /// Whether the record is about a part of its image.
    part: bool,
    /// Their files; empty names for those that are none.
    files: Vec<String>,
    boxes: u64,
    small: u32,
    empty: bool,
    classes: Vec<i64>,
}

/// Reads every image of a split and compares it with what the annotations say. `number` is the split's place in `seen`.
pub fn check(
    (split, number): (Split, usize),
    data_set: &DataSetSource,
    how: &How<'_>,
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
    let take = |index: usize, looked: Looked| {
        pass.step(String::new);
        let record = index as u32;
        for (image, hash) in looked.hashes {
            let place = Place {
                split: number,
                record,
                image,
                whole: !looked.part,
            };
            seen.add(hash, place);
        }
        tally.images += looked.files.iter().filter(|file| files.is_new(file)).count();
        tally.boxes += looked.boxes;
        tally.counts.add(&looked.classes);
        if looked.small > 0 {
            tally.small += u64::from(looked.small);
            tally.with_small.push((record, looked.small));
        }
        if looked.empty {
            tally.empty.push(record);
        }
        looked.findings.into_iter().for_each(|f| report.add(f));
        Ok(())
    };
    let look = |index| Looked::at(index, split, data_set, how);
    ordered::for_each(count, how.threads, look, take)?;
    let stride = how.input.map_or(0, |input| input.stride);
    for finding in tally.findings(split, data_set, stride) {
        report.add(finding);
    }
    Ok(tally)
}

/// How messages call a record.
pub fn name_of(record: &Record, index: usize) -> String {
    if record.name.is_empty() {
        format!("record {index}")
    } else {
        record.name.to_string()
    }
}

/// As [`name_of`], for a record that is asked for again; and the file of one of its images.
pub fn names(data_set: &DataSetSource, index: u32, image: usize) -> (String, String) {
    let record = Source::record(data_set, index as usize).unwrap_or_default();
    let file = record
        .images
        .get(image)
        .map_or_else(String::new, |p| p.path.to_string());
    (name_of(&record, index as usize), file)
}

impl Looked {
    /// Looks at one record: its annotations, each of its images, and how they go together.
    fn at(index: usize, split: Split, data_set: &DataSetSource, how: &How<'_>) -> Self {
        let mut looked = Looked::default();
        let refused = |e: Error| told(Finding::error(Kind::Records, split, ""), e);
        let nameless = format!("record {index}");
        let meta = data_set.meta(index).unwrap_or_else(|e| {
            looked.findings.push(refused(e).of(&nameless, ""));
            RecordMeta::default()
        });
        looked.classes = meta.classes.to_vec();
        let record = match Source::record(data_set, index) {
            Ok(record) => record,
            Err(e) => {
                looked.findings.push(refused(e).of(&nameless, ""));
                return looked;
            }
        };
        let name = name_of(&record, index);
        looked.part = record.region.is_some();
        looked.empty = targets::objects(&record.fields) == Objects::Count(0);
        let boxes = targets::boxes(&record.fields);
        looked.boxes = boxes.len() as u64;
        let measured: Vec<Option<Measured>> = (0..)
            .zip(&record.images)
            .map(|(number, source)| looked.image(split, how, &name, number, source))
            .collect();
        looked.files = record.images.iter().map(|p| p.path.to_string()).collect();
        let Some(measured) = measured.first().copied().flatten() else {
            return looked;
        };
        let file = record.images.first().map_or("", |p| p.path.as_str());
        looked.fit(split, &meta, &measured, &record, (&name, file));
        if let Some(input) = how.input {
            match small_boxes(&record, (measured.width, measured.height), &boxes, input) {
                Ok(small) => looked.small = small,
                Err(e) => looked.findings.push(refused(e).of(&name, file)),
            }
        }
        looked
    }

    /// Reads one image of a record.
    fn image(
        &mut self,
        split: Split,
        how: &How<'_>,
        name: &str,
        number: u16,
        source: &ImageSource,
    ) -> Option<Measured> {
        let file = source.path.as_str();
        let seen = match image_file::look(source) {
            Ok(seen) => seen,
            Err(e) => {
                let finding = Finding::new(how.broken, Kind::UnreadableImages, split, "");
                self.findings.push(told(finding, e).of(name, file));
                return None;
            }
        };
        self.hashes.push((number, seen.hash));
        let format = seen.measured.format;
        if let Some(named) = named_format(file).filter(|named| *named != format) {
            let message = format!("{file} is named as a {named} and is a {format}");
            let finding = Finding::info(Kind::FileNames, split, message);
            self.findings.push(finding.of(name, file));
        }
        Some(seen.measured)
    }

    /// Compares a record with its image: the size that the annotations say, and the targets.
    fn fit(
        &mut self,
        split: Split,
        meta: &RecordMeta,
        measured: &Measured,
        record: &Record,
        (name, file): (&str, &str),
    ) {
        if let Some(message) = other_size(meta, measured) {
            let finding = Finding::error(Kind::ImageSizes, split, message).with_help(
                "the targets are then in the wrong places: use the images that were annotated, or annotate these, upright",
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

/// The finding with an error's message and advice; further details are the message's next lines.
fn told(mut finding: Finding, error: Error) -> Finding {
    let mut parts = error.context;
    parts.push(error.what);
    finding.message = parts.join(": ");
    finding.details = error.details;
    finding.with_help(error.help.unwrap_or_default())
}

/// What is wrong with an image's size, if the annotations say one.
fn other_size(meta: &RecordMeta, measured: &Measured) -> Option<String> {
    let (said, found) = ((meta.width, meta.height), (measured.width, measured.height));
    if meta.width == 0 || meta.height == 0 || said == found {
        return None;
    }
    let swapped = said == (found.1, found.0);
    let why = if swapped && measured.turned {
        ": its EXIF data turn it, and the annotations have the size before"
    } else if swapped {
        ": width and height are swapped"
    } else {
        ""
    };
    Some(format!(
        "the annotations say {}x{}, the image has {}x{}{why}",
        said.0, said.1, found.0, found.1
    ))
}

/// How many boxes are below the stride on both sides, in the model's input.
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
    /// What only the whole split shows.
    fn findings(&self, split: Split, data_set: &DataSetSource, stride: u64) -> Vec<Finding> {
        let mut all = super::classes::findings(split, data_set.spec(), &self.counts);
        if self.small > 0 {
            let share = 100.0 * self.small as f64 / self.boxes.max(1) as f64;
            let message = format!(
                "{} of {} boxes ({share:.1} %) are smaller than {stride} pixels, the model's stride, on both sides in its input",
                self.small, self.boxes
            );
            let named = |(record, count): &(u32, u32)| format!("{}: {count}", names(data_set, *record, 0).0);
            let finding = Finding::warning(Kind::SmallBoxes, split, message)
                .with_details(self.with_small.iter().map(named).collect())
                .with_help("a larger data.image_size, or images cut into tiles, make them larger");
            all.push(finding);
        }
        if !self.empty.is_empty() {
            let share = 100.0 * self.empty.len() as f64 / self.records.max(1) as f64;
            let message = format!("{} of {} ({share:.1} %)", self.empty.len(), self.records);
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
    fn a_size_that_differs_says_whether_exif_turned_it() {
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
            other_size(&meta, &measured).unwrap_or_default()
        };
        assert_eq!(say(40, 30, true), "");
        assert_eq!(
            say(80, 60, true),
            "the annotations say 40x30, the image has 80x60"
        );
        assert!(say(30, 40, true).contains("EXIF"));
        assert!(say(30, 40, false).contains("swapped"));
        assert_eq!(
            other_size(
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

//! Computes the statistics of a split.

use super::{Spread, percent};
use crate::session::Session;
use crate::splits::SplitData;
use cvhost::cli::Split;
use cvhost::error::Result;
use cvhost::progress::Pass;
use cvhost_data::{Measured, Random, Source, decode};
use cvhost_plugin_api::data::{Image, ImageSource, LabelSpec};
use cvhost_report::survey::counts::Counts;
use cvhost_report::survey::histogram::Histogram;
use cvhost_report::survey::image_file::{Files, named_format};
use cvhost_report::survey::ordered;
use cvhost_report::survey::targets::{self, Objects};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The statistics of a split.
pub struct Stats {
    pub split: Split,
    pub spec: LabelSpec,
    pub records: usize,
    /// The number of image files, and of images without a file. Several records may share one.
    pub images: u64,
    files: Files,
    /// Images whose header can't be read.
    pub unreadable: u64,
    /// Images by detected format.
    pub formats: BTreeMap<&'static str, u64>,
    /// Images whose file extension implies another format.
    pub misnamed: u64,
    /// Images that are rotated by their EXIF orientation.
    pub turned: u64,
    /// Width and height of each image in pixels, with EXIF orientation applied.
    pub sizes: Vec<(u32, u32)>,
    pub aspect_ratio: Histogram,
    /// Objects per record; empty if the targets are not a list of objects.
    pub objects: Histogram,
    pub object_count: u64,
    pub counts: Counts,
    pub boxes: u64,
    pub box_area: Histogram,
    pub box_size: Histogram,
    pub pixels: Pixels,
    /// Indices of the sampled records, in random order.
    pub sample: Vec<usize>,
}

/// Sums over all pixels of the sampled images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pixels {
    pub images: u64,
    count: u64,
    /// Per channel: red, green and blue, from 0 to 255.
    sum: [u64; 3],
    squares: [u64; 3],
}

impl Pixels {
    pub fn of(image: &Image) -> Self {
        let mut pixels = Pixels {
            images: 1,
            ..Pixels::default()
        };
        for pixel in image.pixels.chunks_exact(3) {
            pixels.count += 1;
            for ((sum, squares), value) in pixels.sum.iter_mut().zip(&mut pixels.squares).zip(pixel) {
                *sum += u64::from(*value);
                *squares += u64::from(*value) * u64::from(*value);
            }
        }
        pixels
    }

    fn add(&mut self, more: &Pixels) {
        self.images += more.images;
        self.count += more.count;
        for channel in 0..3 {
            if let (Some(sum), Some(more)) = (self.sum.get_mut(channel), more.sum.get(channel)) {
                *sum += more;
            }
            if let (Some(squares), Some(more)) = (self.squares.get_mut(channel), more.squares.get(channel)) {
                *squares += more;
            }
        }
    }

    /// Mean and standard deviation per channel (red, green, blue) over all pixels of all images,
    /// with pixel values scaled to 0–1.
    pub fn mean_and_std(&self) -> Option<([f64; 3], [f64; 3])> {
        if self.count == 0 {
            return None;
        }
        let count = self.count as f64;
        let mean = self.sum.map(|sum| sum as f64 / count / 255.0);
        let mut std = self
            .squares
            .map(|squares| squares as f64 / count / (255.0 * 255.0));
        for (std, mean) in std.iter_mut().zip(mean) {
            *std = (*std - mean * mean).max(0.0).sqrt();
        }
        Some((mean, std))
    }
}

/// The measurements of one record.
struct Inspected {
    /// For each image: its file, and its header with whether the extension implies another format.
    images: Vec<(String, Option<(Measured, bool)>)>,
    objects: Objects,
    boxes: Vec<[f64; 4]>,
    classes: Vec<i64>,
    pixels: Pixels,
}

/// Measures every record of a split and decodes a random sample of `sampled` images, drawn with
/// `training.seed`. An unreadable image is only counted; an unreadable record is an error.
pub fn measure(session: &Session, split: Split, data: &SplitData, sampled: usize) -> Result<Stats> {
    let source = data.source.as_ref();
    let count = source.len();
    let mut sample: Vec<usize> = (0..count).collect();
    Random::new(session.loaded.config.training.seed, 0, Random::SAMPLE).shuffle(&mut sample);
    sample.truncate(sampled);
    let mut decoded = sample.clone();
    decoded.sort_unstable();
    let spec = data.spec.clone();
    let mut stats = Stats {
        split,
        counts: Counts::new(&spec),
        spec,
        records: count,
        images: 0,
        files: Files::default(),
        unreadable: 0,
        formats: BTreeMap::new(),
        misnamed: 0,
        turned: 0,
        sizes: Vec::new(),
        aspect_ratio: Histogram::aspect_ratio(),
        objects: Histogram::objects(),
        object_count: 0,
        boxes: 0,
        box_area: Histogram::coco_area(),
        box_size: Histogram::relative_size(),
        pixels: Pixels::default(),
        sample,
    };
    let pass = Pass::new(split.name(), count as u64, 0);
    let inspect = |index: usize| inspect(source, index, decoded.binary_search(&index).is_ok());
    ordered::for_each(count, session.threads(), inspect, |_, inspected| {
        pass.step(String::new);
        stats.take(inspected?);
        Ok(())
    })?;
    Ok(stats)
}

fn inspect(source: &dyn Source, index: usize, decoded: bool) -> Result<Inspected> {
    let within = |e: cvhost::error::Error| e.within(format!("record {index}"));
    let meta = source.meta(index).map_err(within)?;
    let record = source.record(index).map_err(within)?;
    let measured = |source: &ImageSource| {
        let path = source.path.as_str();
        let named = named_format(path);
        let header = cvhost_data::measure(source).ok();
        let checked = header.map(|header| (header, named.is_some_and(|named| named != header.format)));
        (path.to_owned(), checked)
    };
    let first = record.images.first().filter(|_| decoded);
    let pixels = first
        .and_then(|source| decode(source).ok())
        .map(|p| Pixels::of(&p));
    Ok(Inspected {
        images: record.images.iter().map(measured).collect(),
        objects: targets::objects(&record.fields),
        boxes: targets::boxes(&record.fields),
        classes: meta.classes.to_vec(),
        pixels: pixels.unwrap_or_default(),
    })
}

impl Stats {
    fn take(&mut self, inspected: Inspected) {
        let first = inspected.images.first().and_then(|(_, image)| *image);
        for (file, image) in inspected.images {
            if !self.files.is_new(&file) {
                continue;
            }
            self.images += 1;
            let Some((measured, misnamed)) = image else {
                self.unreadable += 1;
                continue;
            };
            *self.formats.entry(measured.format).or_default() += 1;
            self.misnamed += u64::from(misnamed);
            self.turned += u64::from(measured.turned);
            self.sizes.push((measured.width, measured.height));
            self.aspect_ratio
                .add(f64::from(measured.width) / f64::from(measured.height.max(1)));
        }
        if let Objects::Count(count) = inspected.objects {
            self.objects.add(count as f64);
            self.object_count += count;
        }
        self.counts.add(&inspected.classes);
        for [x1, y1, x2, y2] in inspected.boxes {
            self.boxes += 1;
            let area = (x2 - x1).max(0.0) * (y2 - y1).max(0.0);
            self.box_area.add(area);
            if let Some((measured, _)) = first {
                let whole = f64::from(measured.width) * f64::from(measured.height);
                self.box_size.add((area / whole).sqrt());
            }
        }
        self.pixels.add(&inspected.pixels);
    }

    pub fn widths(&self) -> Option<Spread> {
        Spread::of(self.sizes.iter().map(|(width, _)| f64::from(*width)))
    }

    pub fn heights(&self) -> Option<Spread> {
        Spread::of(self.sizes.iter().map(|(_, height)| f64::from(*height)))
    }

    /// The classes of the data set with their numbers of examples and records, in descending order
    /// of examples. Classes that only the checkpoint has are omitted.
    pub fn classes(&self) -> Vec<(&str, u64, u64)> {
        let of_data = |label: &usize| self.spec.ids.get(*label) != Some(&-1);
        let named = |label: usize| {
            let name = self.spec.names.get(label)?.as_str();
            let counts = &self.counts;
            Some((name, *counts.examples.get(label)?, *counts.records.get(label)?))
        };
        let labels = (0..self.spec.names.len()).filter(of_data);
        let mut classes: Vec<_> = labels.filter_map(named).collect();
        classes.sort_by_key(|(_, examples, _)| std::cmp::Reverse(*examples));
        classes
    }

    pub fn to_json(&self) -> Value {
        let total = self.counts.total();
        let classes = self.classes().into_iter().map(|(name, examples, records)| {
            json!({"name": name, "examples": examples, "records": records, "percent": percent(examples, total)})
        });
        let pixels = self
            .pixels
            .mean_and_std()
            .map(|(mean, std)| json!({"pictures": self.pixels.images, "mean": mean, "std": std}));
        let boxes = (self.boxes > 0).then(|| {
            json!({
                "count": self.boxes, "area": self.box_area.to_json(), "relative_size": self.box_size.to_json(),
            })
        });
        json!({
            "split": self.split.name(),
            "records": self.records,
            "pictures": self.images,
            "unreadable": self.unreadable,
            "formats": self.formats,
            "misnamed": self.misnamed,
            "turned_by_exif": self.turned,
            "width": self.widths().map(Spread::to_json),
            "height": self.heights().map(Spread::to_json),
            "aspect_ratio": self.aspect_ratio.to_json(),
            "objects": (self.objects.total() > 0)
                .then(|| json!({"count": self.object_count, "of_a_record": self.objects.to_json()})),
            "classes": classes.collect::<Vec<_>>(),
            "boxes": boxes,
            "pixels": pixels,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_are_computed_over_all_pixels() {
        let mut all = Pixels::default();
        assert_eq!(all.mean_and_std(), None);
        // One black pixel and three white ones, in two images.
        all.add(&Pixels::of(&Image::filled(1, 1, [0, 0, 255])));
        all.add(&Pixels::of(&Image::filled(3, 1, [255, 0, 255])));
        let (mean, std) = all.mean_and_std().unwrap();
        assert_eq!(all.images, 2);
        assert_eq!(mean, [0.75, 0.0, 1.0]);
        assert!(
            (std[0] - 0.1875f64.sqrt()).abs() < 1e-12 && std[1] == 0.0 && std[2] == 0.0,
            "{std:?}"
        );
    }
}

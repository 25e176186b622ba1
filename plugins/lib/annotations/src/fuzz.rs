//! Bodies of the fuzz targets in `fuzz/`, and a test that replays their corpora: each runs a parser
//! on arbitrary bytes and checks invariants of the result.
#![allow(clippy::panic)] // targets fail by panicking

use crate::boxes::BoxSet;
use crate::coco::{self, Segmentation, ShapeRef, ShapesWanted, Wanted};
use crate::{csv, position, voc, yolo};
use cvhost_datasets::Faults;

/// A COCO file: storing and only validating shapes find the same faults, and a stored mask covers
/// its image.
pub fn coco(bytes: &[u8]) {
    let wanted = |shapes| Wanted {
        shapes,
        keypoints: shapes == ShapesWanted::Kept,
    };
    let checked = coco::read(bytes, wanted(ShapesWanted::Checked));
    let Ok(mut document) = coco::read(bytes, wanted(ShapesWanted::Kept)) else {
        return;
    };
    // A coordinate of the wrong type is an error only if coordinates are read.
    if let Ok(checked) = checked {
        assert!(checked.shape_faults.len() <= document.shape_faults.len());
        assert_eq!(checked.set.annotations.len(), document.set.annotations.len());
    }
    if let (Some(shapes), None) = (&document.shapes, &document.panoptic) {
        for index in 0..document.set.annotations.len() {
            if let Some(ShapeRef::Rle {
                height,
                width,
                counts,
            }) = shapes.get(index)
            {
                let runs: Result<Vec<u32>, _> = cvhost_rle::Runs::new(counts).collect();
                let sum = runs.map(|runs| runs.iter().map(|&run| u64::from(run)).sum::<u64>());
                assert_eq!(sum, Ok(u64::from(height) * u64::from(width)));
                let mask = Segmentation::Rle(cvhost_rle::Rle {
                    height,
                    width,
                    counts: counts.into(),
                });
                assert_eq!(mask.fault((width, height)), None);
            }
        }
    }
    grouped(&document.set);
    document.leave_things();
    grouped(&document.set);
}

/// A Pascal VOC file.
pub fn voc(bytes: &[u8]) {
    if let Ok(image) = voc::parse(bytes) {
        assert!(image.objects.len() <= bytes.len());
    }
}

/// Label files without and with keypoints, and data.yaml.
pub fn yolo(bytes: &[u8]) {
    for keypoints in [None, Some(6)] {
        let labels = yolo::parse_labels(bytes, keypoints);
        let lines = bytes.split(|b| *b == b'\n').count();
        assert!(labels.rows.len() + labels.faults.len() <= lines);
        assert!(labels.rows.iter().all(|row| row.class <= 65_535));
    }
    if let Ok(data) = yolo::parse_data_yaml(bytes) {
        assert!(
            data.names
                .iter()
                .all(|(number, name)| *number >= 0 && !name.is_empty())
        );
    }
}

/// A CSV file of boxes.
pub fn csv(bytes: &[u8]) {
    for delimiter in [b',', b'\t'] {
        let Ok(mut set) = csv::read(bytes, delimiter, &mut Faults::default()) else {
            continue;
        };
        grouped(&set);
        let known = set.categories.len() as i64;
        assert!(
            set.annotations
                .iter()
                .all(|a| (0..known).contains(&a.category_id))
        );
        set.number_classes(&["cat".to_owned()]);
        let known = set.categories.len() as i64;
        assert!(
            set.annotations
                .iter()
                .all(|a| (1..=known).contains(&a.category_id))
        );
    }
}

/// Each annotation of a known image is exactly once in a group, that of an image with its id.
fn grouped(set: &BoxSet) {
    let groups = set.by_image();
    let mut count = 0;
    for image in 0..set.images.len() {
        for index in groups.of(image) {
            let own = set.annotations.get(index).map(|a| a.image_id);
            assert_eq!(own, set.images.id(image));
            count += 1;
        }
    }
    let positions = set.images.positions();
    let known = set
        .annotations
        .iter()
        .filter(|a| position(&positions, a.image_id).is_some());
    assert_eq!(known.count(), count);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Runs a target on every file of its corpus; returns the number of files.
    fn replay(target: &str, run: fn(&[u8])) -> usize {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../../fuzz/corpus")
            .join(target);
        let entries = std::fs::read_dir(&folder).unwrap();
        entries
            .map(|entry| run(&std::fs::read(entry.unwrap().path()).unwrap()))
            .count()
    }

    #[test]
    fn the_corpora_of_the_fuzz_targets_pass() {
        let counts = [
            replay("coco", super::coco),
            replay("voc", super::voc),
            replay("yolo", super::yolo),
            replay("csv", super::csv),
        ];
        assert!(counts.iter().all(|count| *count >= 3), "{counts:?}");
    }
}

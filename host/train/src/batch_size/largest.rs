//! The training images that need the most memory in a batch.

use cvhost::error::Result;
use cvhost_data::{Source, shape_of};
use cvhost_plugin_api::abi::InputBox;
use std::cmp::Reverse;
use std::collections::HashMap;

/// The records with which a batch of any size needs the most memory.
#[derive(Debug, PartialEq, Eq)]
pub struct Largest {
    /// Indices of records, largest input first, and of equal ones that with more objects. Empty if
    /// the sizes are unknown.
    by_area: Vec<usize>,
    /// The records with the widest and the highest input, which pad each other in a batch. `None`
    /// if portrait and landscape images have separate batches.
    extremes: Option<[usize; 2]>,
    /// The number of all records.
    count: usize,
}

/// The input size of a record, and its number of objects.
struct Row {
    index: usize,
    width: u64,
    height: u64,
    objects: usize,
}

impl Largest {
    /// Reads the sizes of all images from the source. `most` is the largest batch that will be
    /// requested, `grouped` is `data.group_by_aspect_ratio`.
    ///
    /// # Errors
    /// The errors of the source and of the adapter's input side.
    pub fn find(source: &dyn Source, input: &InputBox, grouped: bool, most: usize) -> Result<Self> {
        let mut inputs = HashMap::new();
        Self::with_shapes(source, grouped, most, |width, height| {
            if let Some(known) = inputs.get(&(width, height)) {
                return Ok(*known);
            }
            let shape = shape_of(input, (width, height), true)?;
            let mut sides = shape.dims.iter().rev().copied();
            let sides = (sides.next().unwrap_or(1), sides.next().unwrap_or(1));
            inputs.insert((width, height), sides);
            Ok(sides)
        })
    }

    fn with_shapes(
        source: &dyn Source,
        grouped: bool,
        most: usize,
        mut input_of: impl FnMut(u32, u32) -> Result<(u64, u64)>,
    ) -> Result<Self> {
        let count = source.len();
        let mut rows = Vec::with_capacity(count);
        for index in 0..count {
            let meta = source.meta(index)?;
            if meta.width == 0 || meta.height == 0 {
                rows.clear();
                break;
            }
            let (width, height) = input_of(meta.width, meta.height)?;
            rows.push(Row {
                index,
                width,
                height,
                objects: meta.classes.len(),
            });
        }
        rows.sort_by_key(|row| Reverse((row.width.saturating_mul(row.height), row.objects)));
        let extreme = |side: fn(&Row) -> u64| {
            // The first of equal ones is the largest.
            let most = rows.iter().map(side).max()?;
            rows.iter().find(|row| side(row) == most).map(|row| row.index)
        };
        let extremes = extreme(|row| row.width).zip(extreme(|row| row.height));
        Ok(Largest {
            extremes: extremes
                .map(|(widest, highest)| [widest, highest])
                .filter(|_| !grouped),
            by_area: rows.iter().take(most).map(|row| row.index).collect(),
            count,
        })
    }

    /// Whether the annotations contain the sizes of the images.
    pub fn known(&self) -> bool {
        !self.by_area.is_empty()
    }

    /// The records of a batch of `size` images, sorted: the largest ones, or evenly spaced ones if
    /// the sizes are unknown.
    pub fn batch(&self, size: usize) -> Vec<usize> {
        let size = size.min(self.count);
        if !self.known() {
            return (0..size).map(|i| i * self.count / size).collect();
        }
        let extremes = self.extremes.iter().flatten().filter(|_| size > 1);
        let mut records: Vec<usize> = Vec::with_capacity(size);
        for index in extremes.chain(&self.by_area) {
            if records.len() < size && !records.contains(index) {
                records.push(*index);
            }
        }
        records.sort_unstable();
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost_plugin_api::data::{Record, RecordMeta};

    struct Sizes(Vec<(u32, u32, usize)>);

    impl Source for Sizes {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn record(&self, _: usize) -> Result<Record> {
            Ok(Record::default())
        }
        fn meta(&self, index: usize) -> Result<RecordMeta> {
            let (width, height, objects) = self.0[index];
            Ok(RecordMeta {
                width,
                height,
                classes: vec![0; objects].into(),
                extra: Default::default(),
            })
        }
    }

    fn largest(sizes: &[(u32, u32, usize)], grouped: bool) -> Largest {
        let source = Sizes(sizes.to_vec());
        Largest::with_shapes(&source, grouped, 3, |w, h| Ok((w.into(), h.into()))).unwrap()
    }

    #[test]
    fn a_batch_has_the_largest_images_and_those_that_pad_them() {
        let sizes = [
            (10, 10, 1),
            (90, 90, 1),
            (100, 20, 1),
            (80, 80, 0),
            (30, 120, 1),
            (80, 80, 5),
        ];
        let mixed = largest(&sizes, false);
        assert!(mixed.known());
        assert_eq!(mixed.batch(1), [1]);
        assert_eq!(mixed.batch(2), [2, 4]);
        assert_eq!(mixed.batch(4), [1, 2, 4, 5]);
        let grouped = largest(&sizes, true);
        assert_eq!(grouped.batch(2), [1, 5], "of equal areas that with more objects");
    }

    #[test]
    fn without_sizes_images_are_evenly_spaced() {
        let unknown = largest(&[(5, 5, 0), (0, 0, 0), (5, 5, 0), (5, 5, 0)], false);
        assert!(!unknown.known());
        assert_eq!(unknown.batch(2), [0, 2]);
        assert_eq!(unknown.batch(9), [0, 1, 2, 3]);
    }
}

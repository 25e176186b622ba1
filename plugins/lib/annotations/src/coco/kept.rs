//! Shapes and keypoints of a file's annotations, stored contiguously in a few large allocations.

use super::segmentation::Segmentation;

/// The shape of each annotation.
#[derive(Debug, Default)]
pub struct Shapes {
    slots: Vec<Slot>,
    /// Coordinates of all polygons, and the end of each.
    numbers: Vec<f64>,
    ends: Vec<usize>,
    /// Concatenated compressed counts of all masks.
    texts: String,
}

#[derive(Debug, Clone, Copy)]
enum Slot {
    /// Polygons starting at index `first`.
    Polygons { first: usize, count: u32 },
    Rle {
        start: usize,
        length: u32,
        height: u32,
        width: u32,
    },
}

/// The shape of one annotation.
#[derive(Debug, Clone, PartialEq)]
pub enum ShapeRef<'a> {
    /// Rings of alternating x and y in pixels; empty for an object without a valid shape.
    Polygons(Vec<&'a [f64]>),
    /// A mask of `height` x `width` pixels with compressed `counts`, see [`cvhost_rle`].
    Rle {
        height: u32,
        width: u32,
        counts: &'a str,
    },
}

impl Shapes {
    pub(super) fn push(&mut self, shape: Option<Segmentation>) {
        let slot = match shape {
            Some(Segmentation::Rle(rle)) => {
                let start = self.texts.len();
                self.texts.push_str(&rle.counts);
                Slot::Rle {
                    start,
                    length: rle.counts.len() as u32,
                    height: rle.height,
                    width: rle.width,
                }
            }
            Some(Segmentation::Polygons(rings)) => {
                let first = self.ends.len();
                for ring in &rings {
                    self.numbers.extend_from_slice(ring);
                    self.ends.push(self.numbers.len());
                }
                Slot::Polygons {
                    first,
                    count: rings.len() as u32,
                }
            }
            None => Slot::Polygons { first: 0, count: 0 },
        };
        self.slots.push(slot);
    }

    /// The shape of the annotation at `index`; `None` if out of range.
    pub fn get(&self, index: usize) -> Option<ShapeRef<'_>> {
        Some(match *self.slots.get(index)? {
            Slot::Polygons { first, count } => {
                let rings = first..first + count as usize;
                ShapeRef::Polygons(rings.filter_map(|ring| self.ring(ring)).collect())
            }
            Slot::Rle {
                start,
                length,
                height,
                width,
            } => ShapeRef::Rle {
                height,
                width,
                counts: self.texts.get(start..start + length as usize)?,
            },
        })
    }

    fn ring(&self, ring: usize) -> Option<&[f64]> {
        let start = match ring.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.numbers.get(start..*self.ends.get(ring)?)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
            + self.numbers.capacity() * size_of::<f64>()
            + self.ends.capacity() * size_of::<usize>()
            + self.texts.capacity()
    }
}

/// The keypoints of each annotation.
#[derive(Debug, Default)]
pub struct Keypoints {
    numbers: Vec<f64>,
    ends: Vec<usize>,
}

impl Keypoints {
    pub(super) fn push(&mut self, numbers: &[f64]) {
        self.numbers.extend_from_slice(numbers);
        self.ends.push(self.numbers.len());
    }

    /// Triples of x, y in pixels and visibility (0 not labelled, 1 hidden, 2 visible), as in the
    /// file; empty for an annotation without keypoints and for an index out of range.
    pub fn get(&self, index: usize) -> &[f64] {
        let start = match index.checked_sub(1) {
            Some(before) => self.ends.get(before).copied(),
            None => Some(0),
        };
        let range = start.zip(self.ends.get(index).copied());
        range
            .and_then(|(start, end)| self.numbers.get(start..end))
            .unwrap_or_default()
    }
}

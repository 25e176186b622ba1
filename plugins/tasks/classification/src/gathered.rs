//! Data collected by an evaluator: 4 bytes per class and image, plus one bit for the truth.

use cvhost_plugin_api::{PluginError, Result};
use std::collections::HashSet;

const MAGIC: &[u8; 8] = b"CVHCLS01";

/// Scores and truth of the images so far, in insertion order.
#[derive(Debug, Clone, PartialEq)]
pub struct Gathered {
    classes: usize,
    ids: Vec<u64>,
    known: HashSet<u64>,
    /// `classes` values per image.
    scores: Vec<f32>,
    /// `classes` bits per image in whole bytes, lowest bit first.
    truth: Vec<u8>,
    /// Image names, if predictions are saved.
    names: Option<Vec<String>>,
}

/// One image.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The record's index in its dataset.
    pub id: u64,
    pub scores: &'a [f32],
    truth: &'a [u8],
    /// Empty if names aren't stored.
    pub name: &'a str,
}

impl Row<'_> {
    /// Whether the image has this class.
    pub fn has(&self, label: usize) -> bool {
        self.truth
            .get(label / 8)
            .is_some_and(|byte| byte >> (label % 8) & 1 == 1)
    }

    /// The image's classes in ascending order.
    pub fn labels(&self) -> impl Iterator<Item = usize> {
        (0..self.scores.len()).filter(|&label| self.has(label))
    }
}

impl Gathered {
    pub fn new(classes: usize, with_names: bool) -> Self {
        Gathered {
            classes,
            ids: Vec::new(),
            known: HashSet::new(),
            scores: Vec::new(),
            truth: Vec::new(),
            names: with_names.then(Vec::new),
        }
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Adds an image, unless its id is already present (a sampler that pads its last batch repeats
    /// images). `scores` and `truth` have one value per class.
    pub fn add(&mut self, id: u64, scores: &[f32], truth: &[bool], name: &str) {
        let mut bits = vec![0u8; self.classes.div_ceil(8)];
        for (label, _) in truth.iter().enumerate().filter(|(_, t)| **t) {
            if let Some(byte) = bits.get_mut(label / 8) {
                *byte |= 1 << (label % 8);
            }
        }
        self.add_row(Row {
            id,
            scores,
            truth: &bits,
            name,
        });
    }

    fn add_row(&mut self, row: Row<'_>) {
        if !self.known.insert(row.id) {
            return;
        }
        self.ids.push(row.id);
        self.scores.extend_from_slice(row.scores);
        self.truth.extend_from_slice(row.truth);
        if let Some(names) = &mut self.names {
            names.push(row.name.to_owned());
        }
    }

    /// The images sorted by record index, so that the order doesn't depend on who collected them.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let mut rows: Vec<Row<'_>> = (0..self.len()).filter_map(|i| self.row(i)).collect();
        rows.sort_by_key(|row| row.id);
        rows
    }

    fn row(&self, index: usize) -> Option<Row<'_>> {
        let width = self.classes.div_ceil(8);
        let name = self.names.as_ref().and_then(|names| names.get(index));
        Some(Row {
            id: *self.ids.get(index)?,
            scores: self
                .scores
                .get(index * self.classes..(index + 1) * self.classes)?,
            truth: self.truth.get(index * width..(index + 1) * width)?,
            name: name.map_or("", String::as_str),
        })
    }

    /// Serializes for [`Gathered::merge`]: magic; number of classes, number of images, whether
    /// there are names; ids; score bits; truth; names, each preceded by its length. Little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let header = [
            self.classes as u64,
            self.len() as u64,
            u64::from(self.names.is_some()),
        ];
        for number in header.iter().chain(&self.ids) {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for score in &self.scores {
            out.extend_from_slice(&score.to_le_bytes());
        }
        out.extend_from_slice(&self.truth);
        for name in self.names.iter().flatten() {
            out.extend_from_slice(&(name.len() as u64).to_le_bytes());
            out.extend_from_slice(name.as_bytes());
        }
        out
    }

    /// Adds the data of another evaluator. Fails for bytes that aren't from [`Gathered::to_bytes`]
    /// with the same number of classes.
    pub fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        let other = read(&mut rest).filter(|_| rest.is_empty()).ok_or_else(|| {
            PluginError::failed("the state to merge was not written by this version of the evaluator")
        })?;
        if other.classes != self.classes {
            return Err(PluginError::failed(format!(
                "the state to merge has {} classes, but this evaluator has {}",
                other.classes, self.classes
            )));
        }
        for row in (0..other.len()).filter_map(|i| other.row(i)) {
            self.add_row(row);
        }
        Ok(())
    }
}

fn read(rest: &mut &[u8]) -> Option<Gathered> {
    if take(rest, MAGIC.len())? != MAGIC {
        return None;
    }
    let classes = usize::try_from(number(rest)?).ok()?;
    let count = usize::try_from(number(rest)?).ok()?;
    let with_names = number(rest)? != 0;
    let numbers = take(rest, count.checked_mul(8)?)?;
    let ids: Vec<u64> = words(numbers).map(u64::from_le_bytes).collect();
    let scores = take(rest, count.checked_mul(classes)?.checked_mul(4)?)?;
    let scores: Vec<f32> = words(scores).map(f32::from_le_bytes).collect();
    let truth = take(rest, count.checked_mul(classes.div_ceil(8))?)?.to_vec();
    let mut names = with_names.then(Vec::new);
    if let Some(names) = &mut names {
        for _ in 0..count {
            let length = usize::try_from(number(rest)?).ok()?;
            names.push(String::from_utf8(take(rest, length)?.to_vec()).ok()?);
        }
    }
    Some(Gathered {
        classes,
        known: HashSet::new(),
        ids,
        scores,
        truth,
        names,
    })
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.chunks_exact(N).filter_map(|chunk| chunk.try_into().ok())
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    Some(head)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    take(rest, 8)?.try_into().ok().map(u64::from_le_bytes)
}

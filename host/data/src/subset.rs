//! Subsets of a source's records, and splitting a source at random.

use crate::Source;
use crate::random::Random;
use cvhost::error::Result;
use cvhost_plugin_api::data::{Record, RecordArgs, RecordMeta};
use std::sync::Arc;

/// A subset of another source's records.
pub struct Subset {
    whole: Arc<dyn Source>,
    /// Indices in `whole`, sorted.
    indices: Vec<usize>,
}

impl Subset {
    pub fn new(whole: Arc<dyn Source>, indices: Vec<usize>) -> Self {
        Subset { whole, indices }
    }

    /// The index in `whole` of this subset's record `index`. If out of range, the length of
    /// `whole`, at which there is no record.
    fn at(&self, index: usize) -> usize {
        self.indices.get(index).copied().unwrap_or(self.whole.len())
    }
}

impl Source for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn record(&self, index: usize) -> Result<Record> {
        self.whole.record(self.at(index))
    }

    fn record_in(&self, args: &RecordArgs) -> Result<Record> {
        let index = self.at(args.index as usize) as u64;
        self.whole.record_in(&RecordArgs { index, ..*args })
    }

    fn id(&self, index: usize) -> u64 {
        self.whole.id(self.at(index))
    }

    fn record_of(&self, id: u64) -> Result<Record> {
        self.whole.record_of(id)
    }

    fn name(&self, index: usize) -> Result<String> {
        self.whole.name(self.at(index))
    }

    fn meta(&self, index: usize) -> Result<RecordMeta> {
        self.whole.meta(self.at(index))
    }
}

/// Splits a source's records at random into parts. `ratios` are the fractions of all parts but the
/// first, which gets the remaining records. Each part's indices are sorted.
///
/// If every record has exactly one class, the split is stratified, so that every part has about the
/// same fraction of each class. A part with a ratio above 0 gets at least one record, as long as
/// one remains for the first part.
pub fn divide(source: &dyn Source, ratios: &[f64], seed: u64) -> Result<Vec<Vec<usize>>> {
    let count = source.len();
    let mut keys: Vec<(Option<i64>, usize)> = Vec::with_capacity(count);
    for index in 0..count {
        let mut classes = source.meta(index)?.classes.into_vec();
        classes.dedup();
        keys.push((classes.first().copied().filter(|_| classes.len() == 1), index));
    }
    let by_class = keys.iter().all(|(class, _)| class.is_some());
    let mut random = Random::new(seed, 0, Random::DIVISION);
    random.shuffle(&mut keys);
    if by_class {
        keys.sort_by_key(|(class, _)| *class); // stable: random order within a class
    }
    let wanted: Vec<usize> = ratios
        .iter()
        .map(|ratio| {
            let least = usize::from(*ratio > 0.0);
            ((count as f64 * ratio).round() as usize).max(least)
        })
        .collect();
    let mut parts = vec![Vec::new(); ratios.len() + 1];
    let spare = count.saturating_sub(1);
    let mut taken = 0;
    // Each part takes evenly spaced records from the remaining ones, so that it has a fraction of
    // every class.
    let mut remaining: Vec<usize> = keys.into_iter().map(|(_, index)| index).collect();
    for (part, wanted) in parts.iter_mut().skip(1).zip(wanted) {
        let wanted = wanted.min(spare.saturating_sub(taken));
        taken += wanted;
        let total = remaining.len();
        let mut kept = Vec::with_capacity(total - wanted);
        for (position, index) in remaining.into_iter().enumerate() {
            let steps = |position: usize| position * wanted / total.max(1);
            if steps(position + 1) > steps(position) {
                part.push(index);
            } else {
                kept.push(index);
            }
        }
        remaining = kept;
    }
    if let Some(first) = parts.first_mut() {
        *first = remaining;
    }
    parts.iter_mut().for_each(|part| part.sort_unstable());
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Record `i` has class `i % 4 == 0`.
    struct Classes(usize);

    impl Source for Classes {
        fn len(&self) -> usize {
            self.0
        }

        fn record(&self, index: usize) -> Result<Record> {
            Ok(Record {
                name: format!("{index}").into(),
                ..Default::default()
            })
        }

        fn meta(&self, index: usize) -> Result<RecordMeta> {
            Ok(RecordMeta {
                classes: vec![i64::from(index.is_multiple_of(4))].into(),
                ..Default::default()
            })
        }
    }

    #[test]
    fn parts_are_disjoint_complete_and_stratified() {
        let parts = divide(&Classes(400), &[0.25, 0.1], 7).unwrap();
        let sizes: Vec<usize> = parts.iter().map(Vec::len).collect();
        assert_eq!(sizes, [260, 100, 40]);
        let mut all = parts.concat();
        all.sort_unstable();
        assert_eq!(all, (0..400).collect::<Vec<_>>());
        for part in &parts {
            let rare = part.iter().filter(|i| i.is_multiple_of(4)).count();
            assert!(rare.abs_diff(part.len() / 4) <= 1, "{rare} of {}", part.len());
        }
    }

    #[test]
    fn the_split_depends_only_on_the_seed() {
        let of_seed = |seed| divide(&Classes(50), &[0.2], seed).unwrap();
        assert_eq!(of_seed(1), of_seed(1));
        assert_ne!(of_seed(1), of_seed(2));
    }

    #[test]
    fn small_sets_retain_a_record_for_training() {
        assert_eq!(divide(&Classes(1), &[0.5], 0).unwrap(), [vec![0], vec![]]);
        let sizes = |count, ratios: &[f64]| -> Vec<usize> {
            let parts = divide(&Classes(count), ratios, 0).unwrap();
            parts.iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(2, &[0.01]), [1, 1]);
        assert_eq!(sizes(3, &[0.9, 0.9]), [1, 2, 0]);
        assert_eq!(sizes(0, &[0.5]), [0, 0]);
    }

    #[test]
    fn a_subset_returns_the_records_of_the_whole() {
        let part = Subset::new(Arc::new(Classes(10)), vec![3, 8]);
        assert_eq!(part.len(), 2);
        assert_eq!(part.record(1).unwrap().name, "8");
        assert_eq!(part.meta(1).unwrap().classes[0], 1);
        // Its ids are those of the whole, so disjoint subsets have no ids in common.
        assert_eq!((part.id(0), part.id(1)), (3, 8));
        assert_eq!(part.record_of(8).unwrap().name, "8");
        let again = Subset::new(Arc::new(part), vec![1]);
        assert_eq!(again.id(0), 8);
    }
}

//! Counts how often each class occurs.

use cvhost_plugin_api::data::LabelSpec;

/// Counts by label.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Objects of each class; records of each class if records are classified as a whole.
    pub examples: Vec<u64>,
    /// Records with at least one example of each class.
    pub records: Vec<u64>,
}

impl Counts {
    pub fn new(spec: &LabelSpec) -> Self {
        let none = vec![0; spec.names.len()];
        Counts {
            examples: none.clone(),
            records: none,
        }
    }

    /// Counts the labels of a record. Labels that are not a valid class are ignored.
    pub fn add(&mut self, labels: &[i64]) {
        let mut labels: Vec<usize> = labels.iter().filter_map(|l| usize::try_from(*l).ok()).collect();
        labels.sort_unstable();
        let mut before = None;
        for label in labels {
            if let Some(count) = self.examples.get_mut(label) {
                *count += 1;
            }
            if let Some(count) = self.records.get_mut(label).filter(|_| before != Some(label)) {
                *count += 1;
            }
            before = Some(label);
        }
    }

    /// The number of all examples.
    pub fn total(&self) -> u64 {
        self.examples.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_and_records_are_counted_and_invalid_labels_ignored() {
        let spec = LabelSpec {
            names: vec!["a".into(), "b".into()].into(),
            ..Default::default()
        };
        let mut counts = Counts::new(&spec);
        counts.add(&[1, 0, 1, 7, -1]);
        counts.add(&[1]);
        assert_eq!(
            (&counts.examples[..], &counts.records[..]),
            (&[1, 3][..], &[1, 2][..])
        );
        assert_eq!(counts.total(), 4);
    }
}

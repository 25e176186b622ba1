//! The images of a split with their labels, stored compactly: about 20 bytes per image plus the
//! file names.

/// Concatenated names and labels, with the end of each image's range.
#[derive(Debug, Default, Clone)]
pub struct Records {
    names: String,
    name_ends: Vec<usize>,
    labels: Vec<u32>,
    label_ends: Vec<usize>,
}

impl Records {
    /// Adds an image. `name` is relative to the split's folder.
    pub fn push(&mut self, name: &str, labels: &[u32]) {
        self.names.push_str(name);
        self.name_ends.push(self.names.len());
        self.labels.extend_from_slice(labels);
        self.label_ends.push(self.labels.len());
    }

    pub fn len(&self) -> usize {
        self.name_ends.len()
    }

    /// The image's name; empty if `index` is out of range.
    pub fn name(&self, index: usize) -> &str {
        range(&self.name_ends, index)
            .and_then(|r| self.names.get(r))
            .unwrap_or_default()
    }

    /// The image's labels in ascending order; empty if `index` is out of range.
    pub fn labels(&self, index: usize) -> &[u32] {
        range(&self.label_ends, index)
            .and_then(|r| self.labels.get(r))
            .unwrap_or_default()
    }

    /// The number of images with each of `classes` labels.
    pub fn counts(&self, classes: usize) -> Vec<u64> {
        let mut counts = vec![0; classes];
        for &label in &self.labels {
            if let Some(count) = counts.get_mut(label as usize) {
                *count += 1;
            }
        }
        counts
    }

    /// Replaces every label by `number[label]`; `number` must cover all labels.
    pub fn renumber(&mut self, number: &[u32]) {
        for label in &mut self.labels {
            *label = number.get(*label as usize).copied().unwrap_or(*label);
        }
        let mut start = 0;
        for &end in &self.label_ends {
            if let Some(own) = self.labels.get_mut(start..end) {
                own.sort_unstable();
            }
            start = end;
        }
    }
}

fn range(ends: &[usize], index: usize) -> Option<std::ops::Range<usize>> {
    let end = *ends.get(index)?;
    let start = match index.checked_sub(1) {
        Some(before) => *ends.get(before)?,
        None => 0,
    };
    Some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_come_back_and_are_renumbered() {
        let mut records = Records::default();
        records.push("a.png", &[1]);
        records.push("b/c.png", &[]);
        records.push("d.png", &[0, 2]);
        assert_eq!(records.len(), 3);
        assert_eq!((records.name(1), records.labels(1)), ("b/c.png", &[][..]));
        assert_eq!((records.name(2), records.labels(2)), ("d.png", &[0, 2][..]));
        assert_eq!(records.name(3), "");
        records.renumber(&[5, 4, 3]);
        assert_eq!(records.labels(0), [4]);
        assert_eq!(records.labels(2), [3, 5]);
        assert_eq!(records.counts(6), [0, 0, 0, 1, 1, 1]);
    }
}

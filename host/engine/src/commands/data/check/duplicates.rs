//! Finds duplicate images by content hash.

use super::report::{Finding, Kind};
use cvhost::cli::Split;
use cvhost_report::survey::image_file::Hash;

/// The location of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The index of the split in the order of the check.
    pub split: usize,
    pub record: u32,
    /// The index among the record's images.
    pub image: u16,
    /// Whether the record covers the whole image. Several records for parts of an image are not
    /// duplicates.
    pub whole: bool,
}

/// The hashes of all images, about 48 bytes each.
#[derive(Debug, Default)]
pub struct Seen(Vec<(Hash, Place)>);

/// Returns the name of a place for messages: the record's name, and its file.
pub type NameOf<'a> = dyn Fn(Place) -> (String, String) + 'a;

impl Seen {
    pub fn add(&mut self, hash: Hash, place: Place) {
        self.0.push((hash, place));
    }

    /// Returns a finding for each image that is in several splits, and for each that occurs several
    /// times in one. `splits` are the splits in the order of the check.
    pub fn findings(mut self, splits: &[Split], name_of: &NameOf<'_>) -> Vec<Finding> {
        self.0.sort_unstable();
        let mut runs: Vec<&[(Hash, Place)]> = self
            .0
            .chunk_by(|a, b| a.0 == b.0)
            .filter(|run| run.len() > 1)
            .collect();
        runs.sort_by_key(|run| run.first().map(|(_, place)| *place));
        let split_of = |place: Place| splits.get(place.split).copied().unwrap_or(Split::Train);
        let mut all = Vec::new();
        for run in runs {
            let by_split: Vec<&[(Hash, Place)]> = run.chunk_by(|a, b| a.1.split == b.1.split).collect();
            if by_split.len() > 1 {
                let firsts = by_split.iter().filter_map(|part| part.first());
                let (mut names, mut files) = (Vec::new(), Vec::new());
                for &(_, place) in firsts {
                    let (name, file) = name_of(place);
                    names.push(format!("{} {name}", split_of(place)));
                    files.push(file);
                }
                let first = files.first().cloned().unwrap_or_default();
                all.extend(run.first().map(|&(_, place)| {
                    Finding::warning(Kind::Leakage, split_of(place), names.join(" = "))
                        .across()
                        .of("", &first)
                        .with_help("metrics reward memorised images: remove them from one of the splits")
                }));
            }
            for part in by_split {
                all.extend(in_one_split(part, name_of).map(|(place, message, file)| {
                    Finding::warning(Kind::Duplicates, split_of(place), message).of("", &file)
                }));
            }
        }
        all
    }
}

/// The message about identical images in a split, if they are duplicates.
fn in_one_split(part: &[(Hash, Place)], name_of: &NameOf<'_>) -> Option<(Place, String, String)> {
    let &(_, first) = part.first()?;
    if part.len() < 2 {
        return None;
    }
    let (_, file) = name_of(first);
    let names: Vec<String> = part
        .iter()
        .map(|(_, place)| (*place, name_of(*place)))
        // For records of parts of an image, one per file is enough.
        .filter(|(place, (_, own))| *place == first || place.whole || *own != file)
        .map(|(_, (name, _))| name)
        .collect();
    (names.len() > 1).then(|| (first, names.join(" = "), file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPLITS: [Split; 2] = [Split::Train, Split::Val];

    fn place(split: usize, record: u32, whole: bool) -> Place {
        Place {
            split,
            record,
            image: 0,
            whole,
        }
    }

    fn found(places: &[(u8, Place)]) -> Vec<(Kind, String)> {
        let mut seen = Seen::default();
        for (hash, place) in places {
            seen.add([*hash; 32], *place);
        }
        // Records 8 and 9 share a file.
        let name_of = |p: Place| (format!("r{}", p.record), format!("f{}", p.record.min(8)));
        let findings = seen.findings(&SPLITS, &name_of).into_iter();
        findings.map(|f| (f.kind, f.message)).collect()
    }

    #[test]
    fn equal_images_are_reported_once_per_split_and_once_across_splits() {
        let all = found(&[
            (7, place(1, 3, true)),
            (7, place(0, 1, true)),
            (5, place(0, 0, true)),
            (7, place(0, 2, true)),
            (6, place(1, 5, true)),
        ]);
        assert_eq!(
            all,
            [
                (Kind::Leakage, "train r1 = val r3".to_owned()),
                (Kind::Duplicates, "r1 = r2".to_owned()),
            ]
        );
    }

    #[test]
    fn records_of_parts_of_one_file_are_not_duplicates() {
        assert!(found(&[(1, place(0, 8, false)), (1, place(0, 9, false))]).is_empty());
        assert_eq!(found(&[(1, place(0, 8, true)), (1, place(0, 9, true))]).len(), 1);
        assert_eq!(
            found(&[(1, place(0, 7, false)), (1, place(0, 8, false))]).len(),
            1
        );
    }
}

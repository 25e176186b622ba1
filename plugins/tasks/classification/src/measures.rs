//! The numbers of an evaluation, as scikit-learn defines them, with `zero_division=0`.

use crate::auroc;
use crate::gathered::Row;
use crate::scores::{self, DECISION};

/// How many of the best classes the true one must be among for `accuracy_top_5`.
const TOP: usize = 5;

/// How a class was predicted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Images that have the class and were predicted so.
    pub right: u64,
    /// Images that were predicted so wrongly.
    pub wrong: u64,
    /// Images that have the class and were not predicted so.
    pub missed: u64,
}

impl Counts {
    /// Images that have the class.
    pub fn support(self) -> u64 {
        self.right + self.missed
    }

    pub fn predicted(self) -> u64 {
        self.right + self.wrong
    }

    /// In the truth or among the predictions.
    pub fn appears(self) -> bool {
        self.right + self.wrong + self.missed > 0
    }

    pub fn precision(self) -> f64 {
        ratio(self.right, self.predicted())
    }

    pub fn recall(self) -> f64 {
        ratio(self.right, self.support())
    }

    pub fn f1(self) -> f64 {
        ratio(2 * self.right, 2 * self.right + self.wrong + self.missed)
    }
}

/// 0 where there is nothing to divide by.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// NaN where there is nothing to average.
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u64), |(sum, count), v| (sum + v, count + 1));
    sum / count as f64
}

/// The classes that an image counts as predicted for: the best one, or in multi-label data sets all from [`DECISION`] on.
pub fn decided(row: &Row<'_>, multi_label: bool) -> Vec<usize> {
    if multi_label {
        (0..row.scores.len())
            .filter(|&label| row.scores.get(label).is_some_and(|s| *s >= DECISION))
            .collect()
    } else {
        vec![scores::best(row.scores).0]
    }
}

/// Counts of each of `classes` classes, and the share of images whose predicted classes are exactly theirs. `judged` says
/// which classes count.
pub fn count(
    rows: &[Row<'_>],
    classes: usize,
    multi_label: bool,
    judged: impl Fn(usize) -> bool,
) -> (Vec<Counts>, f64) {
    let mut counts = vec![Counts::default(); classes];
    let mut exact = 0u64;
    for row in rows {
        let mut predicted = decided(row, multi_label);
        predicted.retain(|&label| judged(label));
        let mut same = true;
        for &label in &predicted {
            let has = row.has(label);
            same &= has;
            if let Some(count) = counts.get_mut(label) {
                *(if has { &mut count.right } else { &mut count.wrong }) += 1;
            }
        }
        for label in row.labels().filter(|label| !predicted.contains(label)) {
            same = false;
            if let Some(count) = counts.get_mut(label) {
                count.missed += 1;
            }
        }
        exact += u64::from(same);
    }
    let accuracy = exact as f64 / rows.len() as f64;
    (counts, accuracy)
}

/// The share of images of which a true class is among the five best ones; of equal scores the later label counts as the
/// better one, as in scikit-learn's `top_k_accuracy_score`. Images without any class are left out.
pub fn top_accuracy(rows: &[Row<'_>]) -> f64 {
    let hit = |row: &Row<'_>| {
        row.labels().any(|label| {
            let own = row.scores.get(label).copied().unwrap_or(f32::NEG_INFINITY);
            let better = row
                .scores
                .iter()
                .enumerate()
                .filter(|(other, score)| **score > own || **score == own && *other > label);
            better.count() < TOP
        })
    };
    let labelled = rows.iter().filter(|row| row.labels().next().is_some());
    mean(labelled.map(|row| f64::from(u8::from(hit(row)))))
}

/// The area under the curve of one class against all others, and the curve thinned out to `points`, if any are wanted.
pub fn auroc(rows: &[Row<'_>], label: usize, points: usize) -> (f64, Option<auroc::Points>) {
    let score = |row: &Row<'_>| row.scores.get(label).copied().unwrap_or_default();
    let mut scored: Vec<(f32, bool)> = rows.iter().map(|row| (score(row), row.has(label))).collect();
    let area = auroc::area(&mut scored);
    let curve = (points > 0 && area.is_finite()).then(|| auroc::curve(&scored, points));
    (area, curve)
}

/// How confidently an image was predicted wrong, from 0 to 1; `None` for one that was predicted right. For an image of
/// one class that is the score of the wrong one, else the largest distance of a wrongly decided class from the truth.
pub fn confidence_of_error(row: &Row<'_>, multi_label: bool) -> Option<f32> {
    if !multi_label {
        let (label, score) = scores::best(row.scores);
        return (!row.has(label)).then_some(score);
    }
    let wrong = row.scores.iter().enumerate().filter_map(|(label, &score)| {
        let has = row.has(label);
        (has != (score >= DECISION)).then_some(if has { 1.0 - score } else { score })
    });
    wrong.max_by(f32::total_cmp)
}

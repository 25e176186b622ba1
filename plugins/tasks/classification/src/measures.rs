//! Evaluation metrics as defined by scikit-learn, with `zero_division=0`.

use crate::auroc;
use crate::gathered::Row;
use crate::scores::{self, DECISION};

/// For `accuracy_top_5`, a true class must be among this many best classes.
const TOP: usize = 5;

/// Prediction counts of a class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// True positives.
    pub right: u64,
    /// False positives.
    pub wrong: u64,
    /// False negatives.
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

    /// Whether the class occurs in the truth or in the predictions.
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

/// 0 if the denominator is 0.
fn ratio(numerator: u64, denominator: u64) -> f64 {
    if denominator == 0 {
        0.0
    } else {
        numerator as f64 / denominator as f64
    }
}

/// NaN without values.
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u64), |(sum, count), v| (sum + v, count + 1));
    sum / count as f64
}

/// The predicted classes of an image: the best one, or in multi-label datasets all with a score of
/// at least [`DECISION`].
pub fn decided(row: &Row<'_>, multi_label: bool) -> Vec<usize> {
    if multi_label {
        (0..row.scores.len())
            .filter(|&label| row.scores.get(label).is_some_and(|s| *s >= DECISION))
            .collect()
    } else {
        vec![scores::best(row.scores).0]
    }
}

/// The counts of each class, and the fraction of images whose predicted classes are exactly the
/// true ones. `judged` determines which predicted classes count.
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

/// The fraction of images with a true class among the five best. Of equal scores, the later label
/// ranks higher, as in scikit-learn's `top_k_accuracy_score`. Images without classes are excluded.
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

/// The area under the ROC curve of one class versus the rest, and the curve thinned out to about
/// `points` points, or `None` for 0 points.
pub fn auroc(rows: &[Row<'_>], label: usize, points: usize) -> (f64, Option<auroc::Points>) {
    let score = |row: &Row<'_>| row.scores.get(label).copied().unwrap_or_default();
    let mut scored: Vec<(f32, bool)> = rows.iter().map(|row| (score(row), row.has(label))).collect();
    let area = auroc::area(&mut scored);
    let curve = (points > 0 && area.is_finite()).then(|| auroc::curve(&scored, points));
    (area, curve)
}

/// The confidence of a wrong prediction, from 0 to 1; `None` for a correct one. For a single-label
/// image it is the score of the predicted class, otherwise the largest distance between score and
/// truth among wrongly decided classes.
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

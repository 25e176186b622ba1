//! Panoptic quality (Kirillov et al. 2019, "Panoptic Segmentation", equations 1 and 2, and section
//! 4.2 for void).

use super::VOID;
use cvhost_plugin_api::data::Fields;
use cvhost_plugin_api::error::{PluginError, Result};
use std::collections::BTreeMap;

/// What an image contributes to one class.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counts {
    /// The sum of the matched segments' IoU.
    pub iou: f64,
    pub matched: f64,
    pub unmatched_predictions: f64,
    pub unmatched_targets: f64,
}

/// Number of values in [`Counts`].
pub const NUMBERS: usize = 4;

impl Counts {
    fn numbers(self) -> [f64; NUMBERS] {
        [
            self.iou,
            self.matched,
            self.unmatched_predictions,
            self.unmatched_targets,
        ]
    }

    pub fn of_numbers(numbers: &[f64]) -> Self {
        let at = |i: usize| numbers.get(i).copied().unwrap_or(0.0);
        Counts {
            iou: at(0),
            matched: at(1),
            unmatched_predictions: at(2),
            unmatched_targets: at(3),
        }
    }

    /// PQ, SQ and RQ, each 0..1; `None` for a class that is in neither predictions nor targets.
    pub fn quality(self) -> Option<[f64; 3]> {
        let segments = self.matched + 0.5 * self.unmatched_predictions + 0.5 * self.unmatched_targets;
        let matched = if self.matched > 0.0 {
            self.iou / self.matched
        } else {
            0.0
        };
        (segments > 0.0).then(|| [self.iou / segments, matched, self.matched / segments])
    }
}

/// The predicted or the target segments: the map, and each segment's class.
pub struct Segments<'a> {
    pub map: &'a [i32],
    pub labels: &'a [i64],
}

impl<'a> Segments<'a> {
    pub fn of(fields: &'a Fields) -> Result<Self> {
        Ok(Segments {
            map: fields.require("segment_map")?.values()?,
            labels: fields.require("segment_labels")?.values()?,
        })
    }

    fn label(&self, segment: i32) -> Option<i64> {
        usize::try_from(segment)
            .ok()
            .and_then(|s| self.labels.get(s))
            .copied()
    }

    /// Number of pixels of each segment in the map.
    fn areas(&self) -> BTreeMap<i32, f64> {
        let mut areas = BTreeMap::new();
        for segment in self.map.iter().filter(|s| **s != VOID) {
            *areas.entry(*segment).or_insert(0.0) += 1.0;
        }
        areas
    }
}

/// The counts for each of `classes` in one image, four numbers per class.
pub fn compare(prediction: &Segments<'_>, target: &Segments<'_>, classes: usize) -> Result<Vec<f64>> {
    if prediction.map.len() != target.map.len() {
        return Err(PluginError::failed(format!(
            "the predicted segment map has {} pixels, the image {}",
            prediction.map.len(),
            target.map.len()
        )));
    }
    let mut common: BTreeMap<(i32, i32), f64> = BTreeMap::new();
    for (p, t) in prediction.map.iter().zip(target.map) {
        *common.entry((*p, *t)).or_insert(0.0) += 1.0;
    }
    let both = |p: i32, t: i32| common.get(&(p, t)).copied().unwrap_or(0.0);
    let (predicted, wanted) = (prediction.areas(), target.areas());
    let mut counts = vec![Counts::default(); classes];
    let mut add = |label: Option<i64>, change: &dyn Fn(&mut Counts)| {
        if let Some(counts) = label
            .and_then(|l| usize::try_from(l).ok())
            .and_then(|l| counts.get_mut(l))
        {
            change(counts);
        }
    };
    let (mut matched_predictions, mut matched_targets) = (Vec::new(), Vec::new());
    for (&(p, t), &pixels) in common.iter().filter(|((p, t), _)| *p != VOID && *t != VOID) {
        if prediction.label(p) != target.label(t) {
            continue;
        }
        // Void pixels of the target count neither for nor against a prediction.
        let area = |areas: &BTreeMap<i32, f64>, s: i32| areas.get(&s).copied().unwrap_or(0.0);
        let union = area(&predicted, p) - both(p, VOID) + area(&wanted, t) - pixels;
        // An IoU above one half makes the match unique.
        if pixels > 0.5 * union {
            add(target.label(t), &|c| {
                c.iou += pixels / union;
                c.matched += 1.0;
            });
            matched_predictions.push(p);
            matched_targets.push(t);
        }
    }
    for t in wanted.keys().filter(|t| !matched_targets.contains(t)) {
        add(target.label(*t), &|c| c.unmatched_targets += 1.0);
    }
    for (p, area) in predicted.iter().filter(|(p, _)| !matched_predictions.contains(p)) {
        if both(*p, VOID) <= 0.5 * area {
            add(prediction.label(*p), &|c| c.unmatched_predictions += 1.0);
        }
    }
    Ok(counts.into_iter().flat_map(Counts::numbers).collect())
}

//! `classification/1`: one distribution over the classes per image.
//!
//! `LabelSpec::extra` is an object: `multi_label` (a boolean: labels are not exclusive) and
//! `class_counts` (numbers in label order, for balanced weights).

use crate::data::{Array, Fields, Role};

/// The form's name.
pub const FORM: &str = "classification/1";
/// Targets, f32 `[C]` in label order: 1 for the class of the image, or for each class that applies
/// where labels are not exclusive; values in between where images were mixed.
pub const CLASS_DISTRIBUTION: &str = "class_distribution";
/// Predictions, f32 `[C]`: softmax probabilities, or sigmoid values where labels are not exclusive.
pub const CLASS_SCORES: &str = "class_scores";

/// Targets from a value per class.
pub fn targets(distribution: &[f32]) -> Fields {
    Fields::new().with(
        CLASS_DISTRIBUTION,
        Role::DISTRIBUTION,
        Array::vector(distribution),
    )
}

/// Predictions from a score per class, 0..1.
pub fn predictions(scores: &[f32]) -> Fields {
    Fields::new().with(CLASS_SCORES, Role::DISTRIBUTION, Array::vector(scores))
}

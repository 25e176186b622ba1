//! Code shared by image classifiers of all model families: the form `classification/1` for targets
//! and predictions, the loss with its options, and the adapter traits implemented on top of a
//! family's network.
//!
//! # The form `classification/1`
//! Targets: `class_distribution` (distribution, f32 `[C]` in label order): 1 for the class of the
//! image, or for each applicable class if labels are not exclusive, otherwise 0. Mixed images have
//! values in between. Predictions: `class_scores` (distribution, f32 `[C]`): softmax probabilities,
//! or sigmoid values if labels are not exclusive. `LabelSpec::extra` is an object with
//! `multi_label` and `class_counts`, see [`Labels`].
//!
//! # Usage in an adapter
//! An adapter implements [`Network`], returns a [`ClassifierInput`] as its input side and a
//! [`Classifier`] as its model, and includes a schema file equal to [`schema`].

mod classifier;
mod criterion;
mod input;
mod labels;
mod schema;
mod scores;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use classifier::{Classifier, Network, without_prefix};
pub use criterion::Criterion;
pub use input::ClassifierInput;
pub use labels::Labels;
pub use schema::schema;
pub use scores::scores;

pub use cvhost_plugin_api::forms::classification::{CLASS_DISTRIBUTION, CLASS_SCORES, FORM};

//! What image classifiers of all model families share: the form `classification/1` in and out, the loss with its options, and
//! the adapter's traits on top of a family's network.
//!
//! # The form `classification/1`
//! Targets: `class_distribution` (distribution, f32 `[C]` in label order): 1 for the class of the image, or for each class
//! that applies where labels are not exclusive, else 0. Mixed images have values in between. Predictions: `class_scores`
//! (distribution, f32 `[C]`): softmax probabilities, or with labels that are not exclusive sigmoid values.
//! `LabelSpec::extra` is an object with `multi_label` and `class_counts`, see [`Labels`].
//!
//! # What an adapter does with it
//! It implements [`Network`], gives a [`ClassifierInput`] as its input side and a [`Classifier`] as its model, and keeps a
//! schema file that equals [`schema`].

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

pub use cvhost_plugin_api::forms::classification::{CLASS_DISTRIBUTION, CLASS_SCORES};

//! Object detection as direct set prediction (Carion et al. 2020, "End-to-End Object Detection with Transformers"): each
//! target box is matched to one query at the least cost, and the loss is taken over the matched pairs.
//!
//! What an adapter of this kind does with it:
//!
//! ```text
//! let criterion = SetCriterion::from_config(&config_json, config, spec)?;   // once
//! let targets = Targets::from_batch(batch)?;                               // items `boxes` and `class_labels`
//! let normalisers = criterion.normalisers(&targets, num_queries)?;         // Model::normalisers
//! let output = detector::forward(&criterion, batch, context, predict)?;    // Model::forward
//! let fields = detector::finish(outputs, metas, options)?;                 // Model::finish
//! ```

mod boxes;
#[cfg(test)]
mod boxes_tests;
#[cfg(test)]
mod class_weights_tests;
mod criterion;
mod detections;
#[cfg(test)]
mod detections_tests;
pub mod detector;
mod matcher;
#[cfg(test)]
mod matcher_tests;
mod on_host;
pub mod same_size;
mod targets;
mod terms;
#[cfg(test)]
mod tests;

pub use boxes::cxcywh_to_xyxy;
pub use criterion::{AuxiliaryLoss, SetCriterion, SetLoss};
pub use detections::{DetectionOptions, detections};
pub use matcher::MatchCosts;
pub use targets::{Predictions, Targets};

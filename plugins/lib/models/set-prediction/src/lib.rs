//! Object detection as direct set prediction (Carion et al. 2020, "End-to-End Object Detection with
//! Transformers"): bipartite matching assigns each target box to one query at minimum total cost,
//! and the loss is computed over the matched pairs.
//!
//! This crate knows tensors only. `cvhost_detection` builds a detector's plugin interface on it:
//!
//! ```text
//! let criterion = SetCriterion::from_config(&config_json, config, spec, &LossSettings::DETR)?;
//! let targets = Targets::new(class_labels, boxes, counts)?;
//! let normalisers = criterion.normalisers(&targets, queries)?;
//! let loss = criterion.loss(&layers, &targets, &summed_normalisers)?;
//! ```

mod boxes;
#[cfg(test)]
mod boxes_tests;
#[cfg(test)]
mod class_weights_tests;
mod criterion;
mod matcher;
#[cfg(test)]
mod matcher_tests;
mod on_host;
mod targets;
mod terms;
#[cfg(test)]
mod tests;

pub use boxes::cxcywh_to_xyxy;
pub use criterion::{AuxiliaryLoss, LossSettings, SetCriterion, SetLoss};
pub use matcher::MatchCosts;
pub use targets::{Predictions, Targets};

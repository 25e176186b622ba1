//! The model kit of object detectors that predict a set of boxes (Carion et al. 2020, "End-to-End
//! Object Detection with Transformers"). It implements the plugin interface on top of a family's
//! network: input, forward pass, loss, predictions, saved configuration and configuration schema.
//!
//! # The form `detection/1`
//! Targets of a sample: `boxes` (`[K, 4]` f64, xyxy in pixels of the image), `class_labels` (`[K]`
//! i64) and `iscrowd` (`[K]` u8); crowds are ignored. In a batch, `boxes` are f32 cxcywh relative
//! to the image, and ragged like `class_labels`. Predictions of an image: `boxes` (`[K, 4]` f32,
//! xyxy in original pixels), `class_labels` (`[K]` i64) and `scores` (`[K]` f32). [`forms`] has the
//! names.
//!
//! # A new family
//! It implements [`Network`] (the computation and alternative parameter names in checkpoints) and
//! [`Family`] (defaults, loss settings and the network's constructor), calls [`export_detector!`],
//! and keeps a schema file equal to [`schema`]. `tests/toy_family` is a complete example.

mod adapter;
mod detector;
mod family;
pub mod forms;
mod heads;
mod input;
mod network;
mod postprocess;
#[cfg(test)]
mod postprocess_tests;
mod same_size;
#[cfg(test)]
mod same_size_tests;
mod schema;
mod targets;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use adapter::DetectorAdapter;
pub use cvhost_set_prediction::{LossSettings, Predictions};
pub use detector::Detector;
pub use family::Family;
pub use heads::Heads;
pub use input::DetectorInput;
pub use network::{Images, Network, Padding};
pub use schema::schema;

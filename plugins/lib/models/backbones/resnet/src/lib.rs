//! ResNet (He et al. 2016, "Deep Residual Learning for Image Recognition"), as a backbone of
//! detectors, which use its feature map, and as an image classifier. The two differ in their
//! normalisation layers, see [`NormKind`].
//!
//! Start with `network`; `config` has the architectures of checkpoints, `names` the tensor names in
//! files.

mod config;
mod names;
mod network;
mod norm;
#[cfg(test)]
mod tests;

pub use config::{Block, ResNetConfig};
pub use names::Naming;
pub use network::{Aliases, ResNet};
pub use norm::NormKind;

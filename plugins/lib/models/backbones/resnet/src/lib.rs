//! ResNet (He et al. 2016, "Deep Residual Learning for Image Recognition"), for detectors that read its feature map and for
//! the classifier itself. The two differ in their norms, see [`NormKind`].
//!
//! Read `network` first; `config` has the shapes that checkpoints come in, `names` what files call the tensors.

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

//! The vision transformer (Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words"): the parts
//! shared by the families based on it. Each family adds its own tokens to the patches and reads out
//! its own ones.
//!
//! Read `embeddings`, then `encoder`. Below a family's own prefix, tensors have transformers' names
//! on disk.

mod config;
mod embeddings;
mod encoder;
#[cfg(test)]
mod encoder_tests;
#[cfg(test)]
mod tests;

pub use config::{Defaults, VitConfig, patch_size};
pub use embeddings::{Grid, PatchEmbeddings, interpolate};
pub use encoder::EncoderLayer;

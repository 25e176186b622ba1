//! The vision transformer (Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words"): what the families that are built on it
//! have in common. Each puts its own tokens around the patches, and reads its own ones out.
//!
//! Read `embeddings`, then `encoder`. Tensors are named below a family's own prefix as transformers names them on disk.

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

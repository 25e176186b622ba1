//! What model families share below their own networks: layers, activations, and reading and writing of `config.json`.

mod activation;
pub mod config_json;
mod linear;
mod norm;
#[cfg(test)]
mod tests;

pub use activation::Activation;
pub use linear::{Linear, Mlp};
pub use norm::LayerNorm;

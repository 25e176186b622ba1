//! Building blocks shared by model families: layers, activations, class weights, and reading and
//! writing of `config.json`.

mod activation;
mod class_weights;
pub mod config_json;
mod linear;
mod norm;
#[cfg(test)]
mod tests;

pub use activation::Activation;
pub use class_weights::ClassWeights;
pub use linear::{Linear, Mlp};
pub use norm::LayerNorm;

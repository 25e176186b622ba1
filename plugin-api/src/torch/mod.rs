//! Tensors as `tch::Tensor`, and a builder for named parameters. Only with the feature `tch`.
//!
//! Both sides of the interface load one and the same libtorch, so a tensor that crosses keeps its storage and its autograd
//! node.

mod handle;
mod parameters;

pub use handle::{batch_item, named};
pub use parameters::{Init, ParameterSet, Scope};
/// The version of tch that this interface's tensors are of.
pub use tch;

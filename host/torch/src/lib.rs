//! libtorch for the host: the C++ shim, tensors from batches, the network, precision, inference and
//! evaluation.

pub mod batch;
pub mod context;
pub mod evaluate;
pub mod inference;
pub mod means;
pub mod memory;
pub mod network;
pub mod precision;
pub mod scalars;
pub mod shim;

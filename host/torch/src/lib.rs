//! libtorch for the host: the C++ shim, tensors from batches, the loaded network, precision, and evaluation.

pub mod batch;
pub mod evaluate;
pub mod memory;
pub mod network;
pub mod precision;
pub mod scalars;
pub mod shim;

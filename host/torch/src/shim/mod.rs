//! Safe wrappers of the C++ shim (`host/torch/shim/`, whose README explains each function), and the
//! other unsafe calls of this crate.

mod allocator;
mod context;
mod device;
mod memory;
mod optimizer;
mod process;

pub use allocator::{GpuMemory, empty_gpu_cache, gpu_memory, gpu_unused, reset_gpu_peaks};
pub use context::{
    allow_tf32, autocast, fuse_attention, generators_of, gpu_has_bf16, rng_state, set_deterministic,
    set_rng_state,
};
pub use device::{copy_to_gpu, synchronize};
pub use memory::{bytes_of, tensor_of};
pub use optimizer::{
    AdamW, AdamWSlot, Sgd, SgdSlot, average, clear_gradients, clip_gradients, clip_values, fused_adamw,
    fused_sgd, unscale_gradients,
};
pub use process::open_cuda;

use cvhost::error::{Error, Result};
use std::ffi::{CStr, c_char, c_int};

/// Calls a function of the shim with a buffer for its message. A result other than 0 becomes an
/// error.
fn call(body: impl FnOnce(*mut c_char, usize) -> c_int) -> Result<()> {
    let mut message = [0 as c_char; 1024];
    if body(message.as_mut_ptr(), message.len()) == 0 {
        return Ok(());
    }
    // SAFETY: the shim terminates the message with a NUL inside the buffer, which starts zeroed.
    let text = unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy();
    Err(Error::failed(format!(
        "libtorch: {}",
        text.lines().next().unwrap_or_default()
    )))
}

//! libtorch's global switches and its random generators.

use super::call;
use cvhost::error::Result;
use std::ffi::{c_char, c_int};
use tch::Tensor;
use torch_sys::C_tensor;

unsafe extern "C" {
    fn cvhost_set_deterministic(on: c_int, error: *mut c_char, size: usize) -> c_int;
    fn cvhost_rng_state(state: *mut *mut C_tensor, error: *mut c_char, size: usize) -> c_int;
    fn cvhost_set_rng_state(state: *mut C_tensor, error: *mut c_char, size: usize) -> c_int;
}

/// Allows only algorithms that give the same bits each time.
pub fn set_deterministic(on: bool) -> Result<()> {
    // SAFETY: it sets a flag of libtorch's context.
    call(|error, size| unsafe { cvhost_set_deterministic(c_int::from(on), error, size) })
}

/// The state of libtorch's CPU generator.
pub fn rng_state() -> Result<Tensor> {
    let mut state: *mut C_tensor = std::ptr::null_mut();
    // SAFETY: `state` takes a new tensor.
    call(|error, size| unsafe { cvhost_rng_state(&raw mut state, error, size) })?;
    // SAFETY: the call succeeded, so `state` is a new `at::Tensor` that is ours to free.
    Ok(unsafe { Tensor::from_ptr(state) })
}

/// Sets libtorch's CPU generator to a state that [`rng_state`] gave.
pub fn set_rng_state(state: &Tensor) -> Result<()> {
    let mut state = state.shallow_clone();
    // SAFETY: the tensor is alive during the call.
    call(|error, size| unsafe { cvhost_set_rng_state(state.as_mut_ptr(), error, size) })
}

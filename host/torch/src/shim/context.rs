//! Global switches and random generators of libtorch.

use super::call;
use super::device::number;
use cvhost::error::{Error, Result};
use std::ffi::{c_char, c_int};
use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn cvhost_set_deterministic(on: c_int, error: *mut c_char, size: usize) -> c_int;
    fn cvhost_rng_state(device: c_int, state: *mut *mut C_tensor, error: *mut c_char, size: usize) -> c_int;
    fn cvhost_set_rng_state(device: c_int, state: *mut C_tensor, error: *mut c_char, size: usize) -> c_int;
    fn cvhost_autocast(cuda: c_int, on: c_int, scalar_type: c_int, error: *mut c_char, size: usize) -> c_int;
    fn cvhost_allow_tf32(on: c_int, error: *mut c_char, size: usize) -> c_int;
    fn cvhost_fuse_attention(on: c_int, error: *mut c_char, size: usize) -> c_int;
    fn cvhost_gpu_has_bf16(device: c_int, has: *mut c_int, error: *mut c_char, size: usize) -> c_int;
}

/// Allows only deterministic algorithms, which give bit-identical results.
pub fn set_deterministic(on: bool) -> Result<()> {
    // SAFETY: it sets a flag of libtorch's context.
    call(|error, size| unsafe { cvhost_set_deterministic(c_int::from(on), error, size) })
}

/// The devices whose generators are used when training on `device`.
pub fn generators_of(device: Device) -> Vec<Device> {
    match device {
        Device::Cuda(_) => vec![Device::Cpu, device],
        _ => vec![Device::Cpu],
    }
}

/// The state of a device's random generator, uint8 on the CPU.
pub fn rng_state(device: Device) -> Result<Tensor> {
    let mut state: *mut C_tensor = std::ptr::null_mut();
    // SAFETY: `state` is a valid place for the new tensor.
    call(|error, size| unsafe { cvhost_rng_state(number(device), &raw mut state, error, size) })?;
    // SAFETY: the call succeeded, so `state` is a new `at::Tensor` that is ours to free.
    Ok(unsafe { Tensor::from_ptr(state) })
}

/// Sets a device's random generator to a state from [`rng_state`].
pub fn set_rng_state(device: Device, state: &Tensor) -> Result<()> {
    let mut state = state.shallow_clone();
    // SAFETY: the tensor is alive during the call.
    call(|error, size| unsafe { cvhost_set_rng_state(number(device), state.as_mut_ptr(), error, size) })
}

/// Runs `body` with autocast enabled on this thread for operations on `device`: those that are safe
/// in `kind` run in it. Autocast is off again afterwards, even after an error or a panic.
///
/// # Errors
/// libtorch doesn't support autocast to `kind`; or `body` fails.
pub fn autocast<T>(device: Device, kind: Kind, body: impl FnOnce() -> Result<T>) -> Result<T> {
    // Values from c10/core/ScalarType.h.
    let scalar_type = match kind {
        Kind::BFloat16 => 15,
        Kind::Half => 5,
        other => return Err(Error::failed(format!("autocast to {other:?} is not supported"))),
    };
    let switch = Autocast {
        cuda: c_int::from(matches!(device, Device::Cuda(_))),
        scalar_type,
    };
    switch.set(true)?;
    body()
}

/// Guard for autocast on this thread; switches it off when dropped.
struct Autocast {
    cuda: c_int,
    scalar_type: c_int,
}

impl Autocast {
    fn set(&self, on: bool) -> Result<()> {
        // SAFETY: it sets flags of this thread.
        call(|error, size| unsafe {
            cvhost_autocast(self.cuda, c_int::from(on), self.scalar_type, error, size)
        })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        if let Err(error) = self.set(false) {
            tracing::error!("cannot switch off autocast: {error}");
        }
    }
}

/// Sets whether float32 matrix products on GPUs may be computed in TF32.
pub fn allow_tf32(on: bool) -> Result<()> {
    // SAFETY: it sets flags of libtorch's context.
    call(|error, size| unsafe { cvhost_allow_tf32(c_int::from(on), error, size) })
}

/// Sets whether attention may use fused kernels where supported; otherwise it is computed with
/// plain matrix products.
pub fn fuse_attention(on: bool) -> Result<()> {
    // SAFETY: it sets flags of libtorch's context.
    call(|error, size| unsafe { cvhost_fuse_attention(c_int::from(on), error, size) })
}

/// Whether a GPU supports bfloat16.
pub fn gpu_has_bf16(device: Device) -> Result<bool> {
    let mut has: c_int = 0;
    // SAFETY: `has` is a valid place for a number.
    call(|error, size| unsafe { cvhost_gpu_has_bf16(number(device), &raw mut has, error, size) })?;
    Ok(has != 0)
}

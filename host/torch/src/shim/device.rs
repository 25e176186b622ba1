//! GPU-specific functions.

use super::call;
use cvhost::error::Result;
use std::ffi::{c_char, c_int};
use tch::{Device, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn cvhost_copy_to_gpu(
        tensor: *mut C_tensor,
        device: c_int,
        copy: *mut *mut C_tensor,
        error: *mut c_char,
        size: usize,
    ) -> c_int;
    fn cvhost_synchronize(device: c_int, error: *mut c_char, size: usize) -> c_int;
}

/// The GPU's index, -1 for the CPU.
pub(super) fn number(device: Device) -> c_int {
    match device {
        Device::Cuda(index) => c_int::try_from(index).unwrap_or(c_int::MAX),
        _ => -1,
    }
}

/// Copies a CPU tensor to GPU `device` asynchronously through pinned memory; the tensor's own
/// memory can be reused at once. Fails if memory can't be pinned.
pub fn copy_to_gpu(tensor: &mut Tensor, device: Device) -> Result<Tensor> {
    let mut copy: *mut C_tensor = std::ptr::null_mut();
    // SAFETY: the tensor is alive during the call; `copy` is a valid place for the new tensor.
    call(|error, size| unsafe {
        cvhost_copy_to_gpu(tensor.as_mut_ptr(), number(device), &raw mut copy, error, size)
    })?;
    // SAFETY: the call succeeded, so `copy` is a new `at::Tensor` that is ours to free.
    Ok(unsafe { Tensor::from_ptr(copy) })
}

/// Waits until `device` has completed all its work. Returns at once for the CPU.
///
/// # Errors
/// An operation on the device has failed.
pub fn synchronize(device: Device) -> Result<()> {
    match device {
        // SAFETY: it has no preconditions.
        Device::Cuda(_) => call(|error, size| unsafe { cvhost_synchronize(number(device), error, size) }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_gpu_there_is_an_error_and_no_crash() {
        if tch::Cuda::is_available() {
            return;
        }
        let gpu = Device::Cuda(0);
        assert!(copy_to_gpu(&mut Tensor::from(1.0), gpu).is_err());
        assert!(synchronize(gpu).is_err());
        assert!(synchronize(Device::Cpu).is_ok());
    }
}

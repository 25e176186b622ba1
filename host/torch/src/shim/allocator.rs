//! GPU memory statistics of libtorch's allocator.

use super::call;
use super::device::number;
use cvhost::error::Result;
use std::ffi::{c_char, c_int};
use tch::Device;

unsafe extern "C" {
    fn cvhost_gpu_memory(device: c_int, memory: *mut u64, error: *mut c_char, size: usize) -> c_int;
    fn cvhost_gpu_unused(device: c_int, unused: *mut u64, error: *mut c_char, size: usize) -> c_int;
    fn cvhost_reset_gpu_peaks(device: c_int, error: *mut c_char, size: usize) -> c_int;
    fn cvhost_empty_gpu_cache(error: *mut c_char, size: usize) -> c_int;
}

/// Memory of a GPU, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuMemory {
    /// Memory used by tensors.
    pub allocated: u64,
    /// The peak of `allocated` since [`reset_gpu_peaks`].
    pub allocated_peak: u64,
    /// Memory reserved by libtorch's allocator, used or not.
    pub reserved: u64,
    /// The peak of `reserved` since [`reset_gpu_peaks`].
    pub reserved_peak: u64,
}

/// Queries the memory of a GPU. Fails on the CPU.
pub fn gpu_memory(device: Device) -> Result<GpuMemory> {
    let mut memory = [0; 4];
    // SAFETY: four numbers are written.
    call(|error, size| unsafe { cvhost_gpu_memory(number(device), memory.as_mut_ptr(), error, size) })?;
    let [allocated, allocated_peak, reserved, reserved_peak] = memory;
    Ok(GpuMemory {
        allocated,
        allocated_peak,
        reserved,
        reserved_peak,
    })
}

/// The bytes of a GPU that no process uses. Fails on the CPU.
pub fn gpu_unused(device: Device) -> Result<u64> {
    let mut unused = 0;
    // SAFETY: `unused` is a valid place for a number.
    call(|error, size| unsafe { cvhost_gpu_unused(number(device), &raw mut unused, error, size) })?;
    Ok(unused)
}

/// Resets the peaks of a GPU. Fails on the CPU.
pub fn reset_gpu_peaks(device: Device) -> Result<()> {
    // SAFETY: it resets counters of libtorch's allocator.
    call(|error, size| unsafe { cvhost_reset_gpu_peaks(number(device), error, size) })
}

/// Returns unused memory of all GPUs to the driver. Waits for the device.
pub fn empty_gpu_cache() -> Result<()> {
    // SAFETY: only memory that no tensor uses is released.
    call(|error, size| unsafe { cvhost_empty_gpu_cache(error, size) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_gpu_there_is_an_error_and_no_crash() {
        if tch::Cuda::is_available() {
            return;
        }
        assert!(gpu_memory(Device::Cuda(0)).is_err());
        assert!(gpu_unused(Device::Cuda(0)).is_err());
        assert!(reset_gpu_peaks(Device::Cuda(0)).is_err());
        assert!(empty_gpu_cache().is_err());
    }
}

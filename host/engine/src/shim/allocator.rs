//! The memory of a GPU, as libtorch's allocator keeps it.

use super::call;
use cvhost::error::Result;
use std::ffi::{c_char, c_int};

unsafe extern "C" {
    fn cvhost_device_memory(
        device: c_int,
        reserved: *mut u64,
        peak: *mut u64,
        unused: *mut u64,
        error: *mut c_char,
        size: usize,
    ) -> c_int;
    fn cvhost_reset_device_peak(device: c_int, error: *mut c_char, size: usize) -> c_int;
    fn cvhost_empty_device_cache(error: *mut c_char, size: usize) -> c_int;
}

/// Bytes of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceMemory {
    /// What libtorch's allocator has, in use or not.
    pub reserved: u64,
    /// The most that it had since [`reset_device_peak`].
    pub peak: u64,
    /// What nobody has.
    pub unused: u64,
}

/// The memory of the GPU with this index.
pub fn device_memory(index: usize) -> Result<DeviceMemory> {
    let mut memory = DeviceMemory::default();
    let DeviceMemory {
        reserved,
        peak,
        unused,
    } = &mut memory;
    // SAFETY: the three take a number each.
    call(|error, size| unsafe { cvhost_device_memory(number(index), reserved, peak, unused, error, size) })?;
    Ok(memory)
}

/// Lets the peak of the GPU with this index count anew.
pub fn reset_device_peak(index: usize) -> Result<()> {
    // SAFETY: it resets counters of libtorch's allocator.
    call(|error, size| unsafe { cvhost_reset_device_peak(number(index), error, size) })
}

/// Gives memory of all GPUs that no tensor uses back to the driver; waits for the device.
pub fn empty_device_cache() -> Result<()> {
    // SAFETY: only memory that no tensor uses is given back.
    call(|error, size| unsafe { cvhost_empty_device_cache(error, size) })
}

fn number(index: usize) -> c_int {
    c_int::try_from(index).unwrap_or(c_int::MAX)
}

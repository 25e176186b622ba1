//! Memory measurements on the device of a model.

use cvhost_torch::memory;

use cvhost::error::{Error, Result};
use cvhost_torch::shim;
use tch::Device;

/// Where memory is measured: in this process for the CPU, in libtorch's allocator for a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gauge {
    Cpu,
    Gpu(Device),
}

impl Gauge {
    pub fn of(device: Device) -> Self {
        match device {
            Device::Cuda(_) => Gauge::Gpu(device),
            _ => Gauge::Cpu,
        }
    }

    /// Bytes in use now.
    pub fn in_use(self) -> Result<u64> {
        match self {
            Gauge::Cpu => memory::resident().ok_or_else(unreadable),
            Gauge::Gpu(device) => Ok(shim::gpu_memory(device)?.reserved),
        }
    }

    /// Bytes that are available in addition.
    pub fn left(self) -> Result<u64> {
        match self {
            Gauge::Cpu => memory::available().ok_or_else(unreadable),
            Gauge::Gpu(device) => shim::gpu_unused(device),
        }
    }

    /// Resets the peak.
    pub fn start(self) -> Result<()> {
        match self {
            Gauge::Cpu => memory::reset_peak(),
            Gauge::Gpu(device) => {
                shim::empty_gpu_cache()?;
                shim::reset_gpu_peaks(device)?;
            }
        }
        Ok(())
    }

    /// The maximum number of bytes in use since [`Gauge::start`].
    pub fn peak(self) -> Result<u64> {
        match self {
            Gauge::Cpu => memory::peak().ok_or_else(unreadable),
            Gauge::Gpu(device) => Ok(shim::gpu_memory(device)?.reserved_peak),
        }
    }

    /// Returns unused memory of a GPU to the driver.
    pub fn give_back(self) {
        if let Gauge::Gpu(_) = self
            && let Err(error) = shim::empty_gpu_cache()
        {
            tracing::debug!("{error}");
        }
    }
}

fn unreadable() -> Error {
    Error::environment("the memory of this machine can't be read from /proc/self/status and /proc/meminfo")
        .with_help("set data.batch_size to a number")
}

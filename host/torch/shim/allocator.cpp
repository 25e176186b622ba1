// GPU memory statistics of libtorch's allocator.

#include "shim.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <cstdint>

extern "C" {

// Memory of a GPU in bytes: used by tensors, its peak, reserved by the allocator, its peak. Peaks
// are since cvhost_reset_gpu_peaks.
int cvhost_gpu_memory(int device, uint64_t memory[4], char *error, size_t size) {
    return guarded(error, size, [&] {
        auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
        const auto stats = c10::getDeviceAllocator(at::kCUDA)->getDeviceStats(static_cast<c10::DeviceIndex>(device));
        const auto &allocated = stats.allocated_bytes[all], &reserved = stats.reserved_bytes[all];
        const int64_t found[4] = {allocated.current, allocated.peak, reserved.current, reserved.peak};
        for (size_t i = 0; i < 4; ++i) memory[i] = static_cast<uint64_t>(found[i]);
    });
}

// The bytes of a GPU that no process uses, as reported by the driver.
int cvhost_gpu_unused(int device, uint64_t *unused, char *error, size_t size) {
    return guarded(error, size, [&] {
        auto *allocator = c10::getDeviceAllocator(at::kCUDA);
        *unused = allocator->getMemoryInfo(static_cast<c10::DeviceIndex>(device)).first;
    });
}

// Resets the peaks.
int cvhost_reset_gpu_peaks(int device, char *error, size_t size) {
    return guarded(error, size, [&] {
        c10::getDeviceAllocator(at::kCUDA)->resetPeakStats(static_cast<c10::DeviceIndex>(device));
    });
}

// Returns unused memory to the driver. Waits for the device.
int cvhost_empty_gpu_cache(char *error, size_t size) {
    return guarded(error, size, [&] { c10::getDeviceAllocator(at::kCUDA)->emptyCache(); });
}

}  // extern "C"

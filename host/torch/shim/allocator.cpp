// The memory of a GPU, as libtorch's allocator keeps it.

#include "shim.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <cstdint>

extern "C" {

// Bytes of a GPU: what tensors take and the most that they took, what the allocator has of the driver for them and the most that it
// had, each since cvhost_reset_gpu_peaks.
int cvhost_gpu_memory(int device, uint64_t memory[4], char *error, size_t size) {
    return guarded(error, size, [&] {
        auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
        const auto stats = c10::getDeviceAllocator(at::kCUDA)->getDeviceStats(static_cast<c10::DeviceIndex>(device));
        const auto &allocated = stats.allocated_bytes[all], &reserved = stats.reserved_bytes[all];
        const int64_t found[4] = {allocated.current, allocated.peak, reserved.current, reserved.peak};
        for (size_t i = 0; i < 4; ++i) memory[i] = static_cast<uint64_t>(found[i]);
    });
}

// Bytes of a GPU that no program has; this asks the driver.
int cvhost_gpu_unused(int device, uint64_t *unused, char *error, size_t size) {
    return guarded(error, size, [&] {
        auto *allocator = c10::getDeviceAllocator(at::kCUDA);
        *unused = allocator->getMemoryInfo(static_cast<c10::DeviceIndex>(device)).first;
    });
}

// From here on the peaks count anew.
int cvhost_reset_gpu_peaks(int device, char *error, size_t size) {
    return guarded(error, size, [&] {
        c10::getDeviceAllocator(at::kCUDA)->resetPeakStats(static_cast<c10::DeviceIndex>(device));
    });
}

// Gives what no tensor uses back to the driver; waits for the device.
int cvhost_empty_gpu_cache(char *error, size_t size) {
    return guarded(error, size, [&] { c10::getDeviceAllocator(at::kCUDA)->emptyCache(); });
}

}  // extern "C"

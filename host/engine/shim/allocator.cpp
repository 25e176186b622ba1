// The memory of a GPU, as libtorch's allocator keeps it.

#include "shim.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <cstdint>

extern "C" {

// Bytes of a GPU: those that the allocator has from the driver, the most that it had since cvhost_reset_device_peak, and those
// that nobody has.
int cvhost_device_memory(int device, uint64_t *reserved, uint64_t *peak, uint64_t *unused, char *error, size_t size) {
    return guarded(error, size, [&] {
        auto *allocator = c10::getDeviceAllocator(at::kCUDA);
        auto index = static_cast<c10::DeviceIndex>(device);
        auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
        const auto bytes = allocator->getDeviceStats(index).reserved_bytes[all];
        *reserved = static_cast<uint64_t>(bytes.current);
        *peak = static_cast<uint64_t>(bytes.peak);
        *unused = allocator->getMemoryInfo(index).first;
    });
}

// From here on the peak counts anew.
int cvhost_reset_device_peak(int device, char *error, size_t size) {
    return guarded(error, size, [&] {
        c10::getDeviceAllocator(at::kCUDA)->resetPeakStats(static_cast<c10::DeviceIndex>(device));
    });
}

// Gives what no tensor uses back to the driver; waits for the device.
int cvhost_empty_device_cache(char *error, size_t size) {
    return guarded(error, size, [&] { c10::getDeviceAllocator(at::kCUDA)->emptyCache(); });
}

}  // extern "C"

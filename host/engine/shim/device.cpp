// What is particular to a GPU.

#include "shim.h"

#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <cstdint>

extern "C" {

// A copy of a CPU tensor on a GPU. It goes through pinned memory, so nobody waits for it; that memory is libtorch's own, which uses it
// again when the copy is done.
int cvhost_copy_to_gpu(at::Tensor *tensor, int device, at::Tensor **copy, char *error, size_t size) {
    return guarded(error, size, [&] {
        auto target = at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device));
        *copy = new at::Tensor(tensor->pin_memory().to(at::TensorOptions(target), /*non_blocking=*/true));
    });
}

// Bytes that tensors on a GPU take, the most that they took so far, and what libtorch holds of the GPU for them.
int cvhost_gpu_memory(int device, int64_t *allocated, int64_t *peak, int64_t *reserved, char *error, size_t size) {
    return guarded(error, size, [&] {
        auto stats = c10::getDeviceAllocator(at::kCUDA)->getDeviceStats(static_cast<c10::DeviceIndex>(device));
        auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
        *allocated = stats.allocated_bytes[all].current;
        *peak = stats.allocated_bytes[all].peak;
        *reserved = stats.reserved_bytes[all].current;
    });
}

// Waits until a GPU has done everything that it was given.
int cvhost_synchronize(int device, char *error, size_t size) {
    return guarded(error, size, [&] {
        at::detail::getCUDAHooks().deviceSynchronize(static_cast<c10::DeviceIndex>(device));
    });
}

}  // extern "C"

// GPU-specific functions.

#include "shim.h"

#include <ATen/detail/CUDAHooksInterface.h>

extern "C" {

// Copies a CPU tensor to a GPU asynchronously through pinned memory from libtorch's own cache,
// which reuses it once the copy is done.
int cvhost_copy_to_gpu(at::Tensor *tensor, int device, at::Tensor **copy, char *error, size_t size) {
    return guarded(error, size, [&] {
        auto target = at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device));
        *copy = new at::Tensor(tensor->pin_memory().to(at::TensorOptions(target), /*non_blocking=*/true));
    });
}

// Waits until a GPU has completed all its work.
int cvhost_synchronize(int device, char *error, size_t size) {
    return guarded(error, size, [&] {
        at::detail::getCUDAHooks().deviceSynchronize(static_cast<c10::DeviceIndex>(device));
    });
}

}  // extern "C"

// What is particular to a GPU.

#include "shim.h"

#include <ATen/detail/CUDAHooksInterface.h>

extern "C" {

// A copy of a CPU tensor on a GPU. It goes through pinned memory, so nobody waits for it; that memory is libtorch's own, which uses it
// again when the copy is done.
int cvhost_copy_to_gpu(at::Tensor *tensor, int device, at::Tensor **copy, char *error, size_t size) {
    return guarded(error, size, [&] {
        auto target = at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device));
        *copy = new at::Tensor(tensor->pin_memory().to(at::TensorOptions(target), /*non_blocking=*/true));
    });
}

// Waits until a GPU has done everything that it was given.
int cvhost_synchronize(int device, char *error, size_t size) {
    return guarded(error, size, [&] {
        at::detail::getCUDAHooks().deviceSynchronize(static_cast<c10::DeviceIndex>(device));
    });
}

}  // extern "C"

// Global switches and random generators of libtorch.

#include "shim.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/DeviceGuard.h>

#include <mutex>

extern "C" {

// Allows only deterministic algorithms; an operation without one throws.
int cvhost_set_deterministic(int on, char *error, size_t size) {
    return guarded(error, size, [&] {
        at::globalContext().setDeterministicAlgorithms(on != 0, /*warn_only=*/false);
        at::globalContext().setDeterministicCuDNN(on != 0);
    });
}

// The generator of the CPU (device -1) or of a GPU.
static at::Generator generator_of(int device) {
    if (device < 0) return at::detail::getDefaultCPUGenerator();
    return at::globalContext().defaultGenerator(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device)));
}

// The state of a generator as a uint8 tensor, which the caller frees.
int cvhost_rng_state(int device, at::Tensor **state, char *error, size_t size) {
    return guarded(error, size, [&] {
        auto generator = generator_of(device);
        std::lock_guard<std::mutex> lock(generator.mutex());
        *state = new at::Tensor(generator.get_state());
    });
}

int cvhost_set_rng_state(int device, at::Tensor *state, char *error, size_t size) {
    return guarded(error, size, [&] {
        auto generator = generator_of(device);
        std::lock_guard<std::mutex> lock(generator.mutex());
        generator.set_state(*state);
    });
}

// Switches autocast on this thread on with `type` (an at::ScalarType), or off, which also clears
// its cache of converted weights.
int cvhost_autocast(int cuda, int on, int type, char *error, size_t size) {
    return guarded(error, size, [&] {
        auto device = cuda != 0 ? at::kCUDA : at::kCPU;
        if (on != 0) at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(type));
        at::autocast::set_autocast_enabled(device, on != 0);
        if (on == 0) at::autocast::clear_cache();
    });
}

// Sets whether float32 matrix products on a GPU may be computed in TF32.
int cvhost_allow_tf32(int on, char *error, size_t size) {
    return guarded(error, size, [&] {
        at::globalContext().setAllowTF32CuBLAS(on != 0);
        at::globalContext().setAllowTF32CuDNN(on != 0);
    });
}

// Sets whether attention may use a fused kernel. Plain matrix products are always allowed.
int cvhost_fuse_attention(int on, char *error, size_t size) {
    return guarded(error, size, [&] {
        at::globalContext().setSDPUseFlash(on != 0);
        at::globalContext().setSDPUseMemEfficient(on != 0);
        at::globalContext().setSDPUseCuDNN(on != 0);
    });
}

// Whether a GPU supports bfloat16 (compute capability 8 and up).
int cvhost_gpu_has_bf16(int device, int *has, char *error, size_t size) {
    return guarded(error, size, [&] {
        // The hooks query the current GPU.
        c10::DeviceGuard guard(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device)));
        *has = at::detail::getCUDAHooks().supportsBFloat16ConvolutionWithCuDNNv8() ? 1 : 0;
    });
}

}  // extern "C"

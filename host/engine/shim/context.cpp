// libtorch's global switches and its random generators.

#include "shim.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>

#include <mutex>

extern "C" {

// Only algorithms that give the same bits each time; one that has no such form throws.
int cvhost_set_deterministic(int on, char *error, size_t size) {
    return guarded(error, size, [&] {
        at::globalContext().setDeterministicAlgorithms(on != 0, /*warn_only=*/false);
    });
}

// The CPU generator's state as a uint8 tensor (the caller frees it).
int cvhost_rng_state(at::Tensor **state, char *error, size_t size) {
    return guarded(error, size, [&] {
        auto generator = at::detail::getDefaultCPUGenerator();
        std::lock_guard<std::mutex> lock(generator.mutex());
        *state = new at::Tensor(generator.get_state());
    });
}

int cvhost_set_rng_state(at::Tensor *state, char *error, size_t size) {
    return guarded(error, size, [&] {
        auto generator = at::detail::getDefaultCPUGenerator();
        std::lock_guard<std::mutex> lock(generator.mutex());
        generator.set_state(*state);
    });
}

}  // extern "C"

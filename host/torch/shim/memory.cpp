// Tensors over existing memory.

#include "shim.h"

#include <cstdint>
#include <memory>

extern "C" {

// Creates a tensor of `type` (an at::ScalarType) over existing memory, without a copy.
// `release(owner)` is called when the last tensor over it is destroyed. After an error, `owner`
// still belongs to the caller.
int cvhost_tensor_of(void *data, const int64_t *dims, size_t rank, int type, void (*release)(void *), void *owner,
                     at::Tensor **tensor, char *error, size_t size) {
    return guarded(error, size, [&] {
        auto options = at::TensorOptions().dtype(static_cast<at::ScalarType>(type));
        // libtorch may destroy the function object when it throws; it must not free anything then.
        auto armed = std::make_shared<bool>(false);
        auto created = at::from_blob(
            data, at::IntArrayRef(dims, rank), [=](void *) { if (*armed) release(owner); }, options);
        *tensor = new at::Tensor(std::move(created));
        *armed = true;
    });
}

}  // extern "C"

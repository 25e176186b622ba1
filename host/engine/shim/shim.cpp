// What tch lacks, as plain C functions. Nothing is thrown across: a function returns 0, or 1 with the message in `error`.
//
// Why each entry is here:
// - cvhost_fused_adamw: one kernel over all parameters of a group (at::_fused_adamw_); tch's own optimizer wants its VarStore.
// - cvhost_clip_gradients: the norm over all gradients as a tensor, and their scaling, without waiting for the device.
// - cvhost_clear_gradients: gradients become undefined, as torch's zero_grad(set_to_none) has it; tch can only zero them.
// - cvhost_set_deterministic: `training.deterministic`.
// - cvhost_rng_state, cvhost_set_rng_state: the CPU generator's state, for exact resume.
// - cvhost_tensor_of: a batch's memory becomes a tensor as it is, with a function to free it; tch can only copy.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <c10/core/GradMode.h>

#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <vector>

namespace {

std::vector<at::Tensor> list(at::Tensor **tensors, size_t count) {
    std::vector<at::Tensor> result;
    result.reserve(count);
    for (size_t i = 0; i < count; ++i) result.push_back(*tensors[i]);
    return result;
}

template <typename F> int guarded(char *error, size_t size, F body) {
    try {
        body();
        return 0;
    } catch (const std::exception &e) {
        if (size > 0) {
            std::strncpy(error, e.what(), size - 1);
            error[size - 1] = 0;
        }
    } catch (...) {
        if (size > 0) std::strncpy(error, "unknown C++ exception", size - 1);
    }
    return 1;
}

}  // namespace

extern "C" {

// AdamW in place; `steps` are float32 scalars, one a parameter, on the parameter's device.
int cvhost_fused_adamw(at::Tensor **parameters, at::Tensor **gradients, at::Tensor **averages, at::Tensor **squares,
                       at::Tensor **steps, size_t count, double rate, double beta1, double beta2, double decay,
                       double epsilon, char *error, size_t size) {
    return guarded(error, size, [&] {
        c10::NoGradGuard no_grad;
        auto step_list = list(steps, count);
        at::_foreach_add_(step_list, 1);
        at::_fused_adamw_(list(parameters, count), list(gradients, count), list(averages, count), list(squares, count),
                          /*max_exp_avg_sqs=*/{}, step_list, rate, beta1, beta2, decay, epsilon,
                          /*amsgrad=*/false, /*maximize=*/false);
    });
}

// The 2-norm over all gradients into `*norm` (a new tensor, the caller frees it). With max_norm > 0 the gradients are
// scaled by min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_ does.
int cvhost_clip_gradients(at::Tensor **gradients, size_t count, double max_norm, at::Tensor **norm, char *error,
                          size_t size) {
    return guarded(error, size, [&] {
        c10::NoGradGuard no_grad;
        auto all = list(gradients, count);
        auto total = at::linalg_vector_norm(at::stack(at::_foreach_norm(all, 2)), 2);
        if (max_norm > 0) {
            auto factor = at::clamp_max(max_norm / (total + 1e-6), 1.0);
            at::_foreach_mul_(all, factor);
        }
        *norm = new at::Tensor(total);
    });
}

int cvhost_clear_gradients(at::Tensor **parameters, size_t count, char *error, size_t size) {
    return guarded(error, size, [&] {
        for (size_t i = 0; i < count; ++i) parameters[i]->mutable_grad() = at::Tensor();
    });
}

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

// A tensor of `type` (an at::ScalarType) over memory that is not copied; `release(owner)` is called when the last tensor over it
// is gone. After an error `owner` is still the caller's.
int cvhost_tensor_of(void *data, const int64_t *dims, size_t rank, int type, void (*release)(void *), void *owner,
                     at::Tensor **tensor, char *error, size_t size) {
    return guarded(error, size, [&] {
        auto options = at::TensorOptions().dtype(static_cast<at::ScalarType>(type));
        // libtorch may drop the function object when it throws; it must not free anything then.
        auto armed = std::make_shared<bool>(false);
        auto made = at::from_blob(
            data, at::IntArrayRef(dims, rank), [=](void *) { if (*armed) release(owner); }, options);
        *tensor = new at::Tensor(std::move(made));
        *armed = true;
    });
}

}  // extern "C"

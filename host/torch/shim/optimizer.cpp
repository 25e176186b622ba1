// Kernels of an optimizer step.

#include "shim.h"

#include <c10/core/GradMode.h>

extern "C" {

// One AdamW step in place. `steps` are float32 scalars, one per parameter, on the parameter's
// device.
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

// Stores the 2-norm of all gradients in `*norm` (a new tensor, freed by the caller). With max_norm
// > 0 the gradients are scaled by min(1, max_norm / (norm + 1e-6)), like
// torch.nn.utils.clip_grad_norm_.
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

// One SGD step in place (at::_fused_sgd_). `buffers` hold the momenta, initially zero; with
// momentum 0 they are not read.
int cvhost_fused_sgd(at::Tensor **parameters, at::Tensor **gradients, at::Tensor **buffers, size_t count, double rate,
                     double momentum, double decay, int nesterov, char *error, size_t size) {
    return guarded(error, size, [&] {
        c10::NoGradGuard no_grad;
        auto momenta = momentum > 0 ? list(buffers, count) : std::vector<at::Tensor>{};
        at::_fused_sgd_(list(parameters, count), list(gradients, count), momenta, decay, momentum, rate,
                        /*dampening=*/0.0, nesterov != 0, /*maximize=*/false, /*is_first_step=*/false);
    });
}

// Clamps every value of every gradient to [-most, most].
int cvhost_clip_values(at::Tensor **gradients, size_t count, double most, char *error, size_t size) {
    return guarded(error, size, [&] {
        c10::NoGradGuard no_grad;
        auto all = list(gradients, count);
        at::_foreach_clamp_min_(all, -most);
        at::_foreach_clamp_max_(all, most);
    });
}

// Divides every gradient by the loss scale. `*overflow` (a new float32 scalar, freed by the caller)
// is 1 if any value is infinite or NaN, else 0, like torch.amp.GradScaler.
int cvhost_unscale_gradients(at::Tensor **gradients, size_t count, double scale, at::Tensor **overflow, char *error,
                             size_t size) {
    return guarded(error, size, [&] {
        c10::NoGradGuard no_grad;
        auto all = list(gradients, count);
        auto options = all.at(0).options().dtype(at::kFloat);
        auto found = at::zeros({}, options);
        at::_amp_foreach_non_finite_check_and_unscale_(all, found, at::full({}, 1.0 / scale, options));
        *overflow = new at::Tensor(found);
    });
}

// averages += weight * (values - averages), in one call.
int cvhost_average(at::Tensor **averages, at::Tensor **values, size_t count, double weight, char *error, size_t size) {
    return guarded(error, size, [&] {
        c10::NoGradGuard no_grad;
        at::_foreach_lerp_(list(averages, count), list(values, count), weight);
    });
}

int cvhost_clear_gradients(at::Tensor **parameters, size_t count, char *error, size_t size) {
    return guarded(error, size, [&] {
        for (size_t i = 0; i < count; ++i) parameters[i]->mutable_grad() = at::Tensor();
    });
}

}  // extern "C"

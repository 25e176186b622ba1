// Shared by the files of the shim. No exception crosses the boundary: a function returns 0, or 1
// with the message in `error`.
#pragma once

#include <ATen/ATen.h>

#include <cstddef>
#include <cstring>
#include <exception>
#include <vector>

inline std::vector<at::Tensor> list(at::Tensor **tensors, size_t count) {
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

//! Process-wide initialisation.

/// Loads libtorch's CUDA library if it exists. Must be called before any other libtorch function:
/// after a single seed or backward pass on the CPU, stub hooks stay in place for good.
pub fn open_cuda() -> bool {
    // SAFETY: dlopen of a library by name; its initialisers register libtorch's CUDA backend.
    let handle = unsafe { libc::dlopen(c"libtorch_cuda.so".as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    !handle.is_null()
}

//! What concerns the whole process.

/// Opens libtorch's CUDA part, if it is there. It must come before any other libtorch call: one seed or one CPU backward
/// before it leaves stub hooks for good.
pub fn open_cuda() -> bool {
    // SAFETY: dlopen of a library by name; its initialisers register libtorch's CUDA backend.
    let handle = unsafe { libc::dlopen(c"libtorch_cuda.so".as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    !handle.is_null()
}

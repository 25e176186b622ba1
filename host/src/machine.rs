//! Machine information from the C library. This is the only unsafe code in this crate.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The version of the running glibc, such as `2.36`; `None` if it is not valid UTF-8.
pub fn glibc_version() -> Option<&'static str> {
    // SAFETY: the function takes nothing and returns a pointer to a static, NUL-terminated string.
    let text = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    text.to_str().ok()
}

/// Bytes available to this user on the file system of `path`.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` is NUL-terminated and `stat` is valid for writes of the structure that the
    // call fills.
    let status = unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) };
    if status != 0 {
        return None;
    }
    // SAFETY: the call returned 0, so it has filled the structure.
    let stat = unsafe { stat.assume_init() };
    stat.f_bavail.checked_mul(stat.f_frsize)
}

/// Exits the process immediately without running destructors, as tensors and plugin vtables may
/// still be in use.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: _exit has no preconditions; everything that must be flushed has been flushed.
    unsafe { libc::_exit(std::ffi::c_int::from(code)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glibc_version_has_two_numbers() {
        let version = glibc_version().unwrap();
        assert!(
            version.split('.').take(2).all(|n| n.parse::<u32>().is_ok()),
            "{version}"
        );
    }

    #[test]
    fn free_bytes_needs_an_existing_folder() {
        assert!(free_bytes(Path::new("/")).is_some());
        assert_eq!(free_bytes(Path::new("/no/such/folder")), None);
    }
}

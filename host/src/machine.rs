//! What the C library tells about this machine. The only unsafe code of this crate.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The version of the running glibc, such as `2.36`; none when it can't be read as text.
pub fn glibc_version() -> Option<&'static str> {
    // SAFETY: the function takes nothing and returns a pointer to a static, NUL-terminated string.
    let text = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    text.to_str().ok()
}

/// Bytes that are free for this user on the file system of `path`.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` is NUL-terminated and `stat` is valid for writes of the structure that the call fills.
    let status = unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) };
    if status != 0 {
        return None;
    }
    // SAFETY: the call returned 0, so it has filled the structure.
    let stat = unsafe { stat.assume_init() };
    stat.f_bavail.checked_mul(stat.f_frsize)
}

/// Ends the process at once, without destructors: tensors and vtables of plugins may outlive everything.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: _exit has no preconditions; what must be flushed has been.
    unsafe { libc::_exit(std::ffi::c_int::from(code)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glibc_has_a_version_with_two_numbers() {
        let version = glibc_version().unwrap();
        assert!(
            version.split('.').take(2).all(|n| n.parse::<u32>().is_ok()),
            "{version}"
        );
    }

    #[test]
    fn a_folder_has_free_space_and_a_missing_one_has_none() {
        assert!(free_bytes(Path::new("/")).is_some());
        assert_eq!(free_bytes(Path::new("/no/such/folder")), None);
    }
}

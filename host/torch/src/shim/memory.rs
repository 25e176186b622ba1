//! Tensors over existing memory.

use super::call;
use cvhost::error::{Error, Result};
use cvhost_data::buffer::Buffer;
use cvhost_plugin_api::data::DType;
use std::ffi::{c_char, c_int, c_void};
use tch::{Device, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn cvhost_tensor_of(
        data: *mut c_void,
        dims: *const i64,
        rank: usize,
        scalar_type: c_int,
        release: unsafe extern "C" fn(*mut c_void),
        owner: *mut c_void,
        tensor: *mut *mut C_tensor,
        error: *mut c_char,
        size: usize,
    ) -> c_int;
}

/// Wraps the buffer's memory as a tensor of this shape, without a copy. The memory is released with
/// the last tensor over it. Fails if the shape doesn't match the size of the buffer.
pub fn tensor_of(buffer: Buffer, dims: &[i64]) -> Result<Tensor> {
    // Values from c10/core/ScalarType.h.
    let scalar_type = match buffer.dtype() {
        DType::U8 => 0,
        DType::I32 => 3,
        DType::I64 => 4,
        DType::F32 => 6,
        _ => 7,
    };
    let size = buffer.dtype().size().unwrap_or(1);
    let elements = dims.iter().try_fold(1i64, |count, &dim| count.checked_mul(dim));
    let bytes = elements.and_then(|count| usize::try_from(count).ok()?.checked_mul(size));
    if bytes != Some(buffer.bytes().len()) {
        return Err(Error::failed(format!(
            "{} bytes can't form a tensor of shape {dims:?}",
            buffer.bytes().len()
        )));
    }
    let mut buffer = Box::new(buffer);
    let data = buffer.bytes_mut().as_mut_ptr().cast();
    let owner = Box::into_raw(buffer).cast();
    let mut tensor: *mut C_tensor = std::ptr::null_mut();
    let created = call(|error, size| {
        // SAFETY: `data` has exactly the bytes of shape and dtype, and lives until `owner` is
        // released, which `drop_buffer` does with the very pointer from `into_raw`; `tensor` is a
        // valid place for the new tensor.
        unsafe {
            cvhost_tensor_of(
                data,
                dims.as_ptr(),
                dims.len(),
                scalar_type,
                drop_buffer,
                owner,
                &raw mut tensor,
                error,
                size,
            )
        }
    });
    if let Err(error) = created {
        // SAFETY: after an error the owner is still ours.
        unsafe { drop_buffer(owner) };
        return Err(error);
    }
    // SAFETY: the call succeeded, so `tensor` is a new `at::Tensor` that is ours to free.
    Ok(unsafe { Tensor::from_ptr(tensor) })
}

/// The bytes of a contiguous CPU tensor; empty for any other tensor.
///
/// # Safety
/// Nothing may write to the tensor while the bytes are borrowed, not even through another handle.
pub unsafe fn bytes_of(tensor: &Tensor) -> &[u8] {
    let bytes = tensor.numel() * tensor.kind().elt_size_in_bytes();
    if tensor.device() != Device::Cpu || !tensor.is_contiguous() || bytes == 0 {
        return &[];
    }
    // SAFETY: the data of a contiguous tensor are `bytes` consecutive bytes, which live as long as
    // the tensor; the caller ensures that nothing writes to them.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), bytes) }
}

/// Frees the buffer that [`tensor_of`] handed to libtorch.
unsafe extern "C" fn drop_buffer(owner: *mut c_void) {
    // SAFETY: `owner` is a `Box<Buffer>` as a raw pointer, and is freed only once.
    drop(unsafe { Box::from_raw(owner.cast::<Buffer>()) });
}

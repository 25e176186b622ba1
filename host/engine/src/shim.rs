//! Safe faces of the C++ shim, and the other unsafe calls of this crate.

use cvhost::error::{Error, Result};
use cvhost_data::buffer::Buffer;
use cvhost_plugin_api::data::DType;
use std::ffi::{CStr, c_char, c_int, c_void};
use tch::Tensor;
use torch_sys::C_tensor;

unsafe extern "C" {
    fn cvhost_fused_adamw(
        parameters: *const *mut C_tensor,
        gradients: *const *mut C_tensor,
        averages: *const *mut C_tensor,
        squares: *const *mut C_tensor,
        steps: *const *mut C_tensor,
        count: usize,
        rate: f64,
        beta1: f64,
        beta2: f64,
        decay: f64,
        epsilon: f64,
        error: *mut c_char,
        size: usize,
    ) -> c_int;
    fn cvhost_clip_gradients(
        gradients: *const *mut C_tensor,
        count: usize,
        max_norm: f64,
        norm: *mut *mut C_tensor,
        error: *mut c_char,
        size: usize,
    ) -> c_int;
    fn cvhost_clear_gradients(
        parameters: *const *mut C_tensor,
        count: usize,
        error: *mut c_char,
        size: usize,
    ) -> c_int;
    fn cvhost_set_deterministic(on: c_int, error: *mut c_char, size: usize) -> c_int;
    fn cvhost_rng_state(state: *mut *mut C_tensor, error: *mut c_char, size: usize) -> c_int;
    fn cvhost_set_rng_state(state: *mut C_tensor, error: *mut c_char, size: usize) -> c_int;
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

/// AdamW's settings for one call; β₁, β₂ and ε are those of the paper (Loshchilov and Hutter 2019).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    pub rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub decay: f64,
}

/// The state of one parameter in AdamW, with the parameter and its gradient.
pub struct AdamWSlot {
    pub parameter: Tensor,
    pub gradient: Tensor,
    pub average: Tensor,
    pub square: Tensor,
    /// Steps so far, float32 scalar.
    pub step: Tensor,
}

/// One AdamW step in place, over all slots.
pub fn fused_adamw(slots: &mut [AdamWSlot], with: AdamW) -> Result<()> {
    if slots.is_empty() {
        return Ok(());
    }
    let mut column = |pick: fn(&mut AdamWSlot) -> &mut Tensor| -> Vec<*mut C_tensor> {
        slots.iter_mut().map(|s| pick(s).as_mut_ptr()).collect()
    };
    let parameters = column(|s| &mut s.parameter);
    let gradients = column(|s| &mut s.gradient);
    let averages = column(|s| &mut s.average);
    let squares = column(|s| &mut s.square);
    let steps = column(|s| &mut s.step);
    call(|error, size| {
        // SAFETY: each list has as many tensors as `slots`, all alive and mutably borrowed during the call.
        unsafe {
            cvhost_fused_adamw(
                parameters.as_ptr(),
                gradients.as_ptr(),
                averages.as_ptr(),
                squares.as_ptr(),
                steps.as_ptr(),
                parameters.len(),
                with.rate,
                with.beta1,
                with.beta2,
                with.decay,
                with.epsilon,
                error,
                size,
            )
        }
    })
}

/// The 2-norm over all gradients as a scalar tensor, without waiting for the device. With `max_norm` the gradients are
/// scaled down to it in place.
pub fn clip_gradients(gradients: &mut [Tensor], max_norm: Option<f64>) -> Result<Tensor> {
    let pointers: Vec<*mut C_tensor> = gradients.iter_mut().map(Tensor::as_mut_ptr).collect();
    let mut norm: *mut C_tensor = std::ptr::null_mut();
    call(|error, size| {
        // SAFETY: the tensors are alive and mutably borrowed; `norm` takes a new tensor.
        unsafe {
            cvhost_clip_gradients(
                pointers.as_ptr(),
                pointers.len(),
                max_norm.unwrap_or(0.0),
                &raw mut norm,
                error,
                size,
            )
        }
    })?;
    // SAFETY: the call succeeded, so `norm` is a new `at::Tensor` that is ours to free.
    Ok(unsafe { Tensor::from_ptr(norm) })
}

/// Makes the gradients of these parameters undefined.
pub fn clear_gradients<'a>(parameters: impl Iterator<Item = &'a mut Tensor>) -> Result<()> {
    let pointers: Vec<*mut C_tensor> = parameters.map(Tensor::as_mut_ptr).collect();
    // SAFETY: the tensors are alive and mutably borrowed during the call.
    call(|error, size| unsafe { cvhost_clear_gradients(pointers.as_ptr(), pointers.len(), error, size) })
}

/// Allows only algorithms that give the same bits each time.
pub fn set_deterministic(on: bool) -> Result<()> {
    // SAFETY: it sets a flag of libtorch's context.
    call(|error, size| unsafe { cvhost_set_deterministic(c_int::from(on), error, size) })
}

/// The state of libtorch's CPU generator.
pub fn rng_state() -> Result<Tensor> {
    let mut state: *mut C_tensor = std::ptr::null_mut();
    // SAFETY: `state` takes a new tensor.
    call(|error, size| unsafe { cvhost_rng_state(&raw mut state, error, size) })?;
    // SAFETY: the call succeeded, so `state` is a new `at::Tensor` that is ours to free.
    Ok(unsafe { Tensor::from_ptr(state) })
}

/// Sets libtorch's CPU generator to a state that [`rng_state`] gave.
pub fn set_rng_state(state: &Tensor) -> Result<()> {
    let mut state = state.shallow_clone();
    // SAFETY: the tensor is alive during the call.
    call(|error, size| unsafe { cvhost_set_rng_state(state.as_mut_ptr(), error, size) })
}

/// The buffer's memory as a tensor of this shape, without a copy; the memory goes back when the last tensor over it is gone.
/// Fails where the shape asks for more than there is.
pub fn tensor_of(buffer: Buffer, dims: &[i64]) -> Result<Tensor> {
    // The numbers of c10/core/ScalarType.h.
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
            "{} bytes are not a tensor of shape {dims:?}",
            buffer.bytes().len()
        )));
    }
    let mut buffer = Box::new(buffer);
    let data = buffer.bytes_mut().as_mut_ptr().cast();
    let owner = Box::into_raw(buffer).cast();
    let mut tensor: *mut C_tensor = std::ptr::null_mut();
    let made = call(|error, size| {
        // SAFETY: `data` has as many bytes as shape and type take, and lives until `owner` is released, which `drop_buffer` does
        // with the very pointer that `into_raw` gave; `tensor` takes a new tensor.
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
    if let Err(error) = made {
        // SAFETY: after an error the owner is still ours.
        unsafe { drop_buffer(owner) };
        return Err(error);
    }
    // SAFETY: the call succeeded, so `tensor` is a new `at::Tensor` that is ours to free.
    Ok(unsafe { Tensor::from_ptr(tensor) })
}

/// Frees what [`tensor_of`] gave away.
unsafe extern "C" fn drop_buffer(owner: *mut c_void) {
    // SAFETY: `owner` is a `Box<Buffer>` as a raw pointer, and is given back once.
    drop(unsafe { Box::from_raw(owner.cast::<Buffer>()) });
}

/// Opens libtorch's CUDA part, if it is there. It must come before any other libtorch call: one seed or one CPU backward
/// before it leaves stub hooks for good.
pub fn open_cuda() -> bool {
    // SAFETY: dlopen of a library by name; its initialisers register libtorch's CUDA backend.
    let handle = unsafe { libc::dlopen(c"libtorch_cuda.so".as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    !handle.is_null()
}

/// Ends the process at once, without destructors: tensors and vtables of plugins may outlive everything.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: _exit has no preconditions; what must be flushed has been.
    unsafe { libc::_exit(c_int::from(code)) }
}

fn call(body: impl FnOnce(*mut c_char, usize) -> c_int) -> Result<()> {
    let mut message = [0 as c_char; 1024];
    if body(message.as_mut_ptr(), message.len()) == 0 {
        return Ok(());
    }
    // SAFETY: the shim ends the message with a NUL inside the buffer, which starts zeroed.
    let text = unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy();
    Err(Error::failed(format!(
        "libtorch: {}",
        text.lines().next().unwrap_or_default()
    )))
}

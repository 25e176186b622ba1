//! Kernels of an optimizer step.

use super::call;
use cvhost::error::Result;
use std::ffi::{c_char, c_int};
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
    fn cvhost_fused_sgd(
        parameters: *const *mut C_tensor,
        gradients: *const *mut C_tensor,
        buffers: *const *mut C_tensor,
        count: usize,
        rate: f64,
        momentum: f64,
        decay: f64,
        nesterov: c_int,
        error: *mut c_char,
        size: usize,
    ) -> c_int;
    fn cvhost_clip_values(
        gradients: *const *mut C_tensor,
        count: usize,
        most: f64,
        error: *mut c_char,
        size: usize,
    ) -> c_int;
    fn cvhost_unscale_gradients(
        gradients: *const *mut C_tensor,
        count: usize,
        scale: f64,
        overflow: *mut *mut C_tensor,
        error: *mut c_char,
        size: usize,
    ) -> c_int;
    fn cvhost_average(
        averages: *const *mut C_tensor,
        values: *const *mut C_tensor,
        count: usize,
        weight: f64,
        error: *mut c_char,
        size: usize,
    ) -> c_int;
    fn cvhost_clear_gradients(
        parameters: *const *mut C_tensor,
        count: usize,
        error: *mut c_char,
        size: usize,
    ) -> c_int;
}

/// The settings of one AdamW step; β₁, β₂ and ε are those of the paper (Loshchilov and Hutter
/// 2019).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    pub rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub decay: f64,
}

/// A parameter with its gradient and AdamW state.
pub struct AdamWSlot {
    pub parameter: Tensor,
    pub gradient: Tensor,
    pub average: Tensor,
    pub square: Tensor,
    /// Completed steps, a float32 scalar.
    pub step: Tensor,
}

/// Performs one AdamW step on all slots, in place.
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
        // SAFETY: each list has as many tensors as `slots`, all alive and mutably borrowed during
        // the call.
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

/// Computes the 2-norm of all gradients as a scalar tensor, without waiting for the device. With
/// `max_norm`, the gradients are scaled down in place to that norm.
pub fn clip_gradients(gradients: &mut [Tensor], max_norm: Option<f64>) -> Result<Tensor> {
    let pointers: Vec<*mut C_tensor> = gradients.iter_mut().map(Tensor::as_mut_ptr).collect();
    let mut norm: *mut C_tensor = std::ptr::null_mut();
    call(|error, size| {
        // SAFETY: the tensors are alive and mutably borrowed; `norm` is a valid place for the new
        // tensor.
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

/// The settings of one SGD step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    pub rate: f64,
    pub momentum: f64,
    pub decay: f64,
    pub nesterov: bool,
}

/// A parameter with its gradient and SGD state.
pub struct SgdSlot {
    pub parameter: Tensor,
    pub gradient: Tensor,
    /// Zeros at first.
    pub momentum: Tensor,
}

/// Performs one SGD step on all slots, in place.
pub fn fused_sgd(slots: &mut [SgdSlot], with: Sgd) -> Result<()> {
    if slots.is_empty() {
        return Ok(());
    }
    let mut column = |pick: fn(&mut SgdSlot) -> &mut Tensor| -> Vec<*mut C_tensor> {
        slots.iter_mut().map(|s| pick(s).as_mut_ptr()).collect()
    };
    let parameters = column(|s| &mut s.parameter);
    let gradients = column(|s| &mut s.gradient);
    let buffers = column(|s| &mut s.momentum);
    call(|error, size| {
        // SAFETY: each list has as many tensors as `slots`, all alive and mutably borrowed during
        // the call.
        unsafe {
            cvhost_fused_sgd(
                parameters.as_ptr(),
                gradients.as_ptr(),
                buffers.as_ptr(),
                parameters.len(),
                with.rate,
                with.momentum,
                with.decay,
                c_int::from(with.nesterov),
                error,
                size,
            )
        }
    })
}

/// Clamps every value of every gradient to [−`most`, `most`].
pub fn clip_values(gradients: &mut [Tensor], most: f64) -> Result<()> {
    let pointers: Vec<*mut C_tensor> = gradients.iter_mut().map(Tensor::as_mut_ptr).collect();
    // SAFETY: the tensors are alive and mutably borrowed during the call.
    call(|error, size| unsafe { cvhost_clip_values(pointers.as_ptr(), pointers.len(), most, error, size) })
}

/// Divides every gradient by the loss scale. Returns a float32 scalar on their device, without
/// waiting for it: 1 if any value is infinite or NaN, else 0. There must be at least one gradient.
pub fn unscale_gradients(gradients: &mut [Tensor], scale: f64) -> Result<Tensor> {
    let pointers: Vec<*mut C_tensor> = gradients.iter_mut().map(Tensor::as_mut_ptr).collect();
    let mut overflow: *mut C_tensor = std::ptr::null_mut();
    call(|error, size| {
        // SAFETY: the tensors are alive and mutably borrowed; `overflow` is a valid place for the
        // new tensor.
        unsafe {
            cvhost_unscale_gradients(
                pointers.as_ptr(),
                pointers.len(),
                scale,
                &raw mut overflow,
                error,
                size,
            )
        }
    })?;
    // SAFETY: the call succeeded, so `overflow` is a new `at::Tensor` that is ours to free.
    Ok(unsafe { Tensor::from_ptr(overflow) })
}

/// Interpolates each average towards its value: `average += weight · (value − average)`. The lists
/// must match in shapes and dtypes.
pub fn average(averages: &mut [Tensor], values: &mut [Tensor], weight: f64) -> Result<()> {
    let count = averages.len().min(values.len());
    if count == 0 {
        return Ok(());
    }
    let averages: Vec<*mut C_tensor> = averages.iter_mut().map(Tensor::as_mut_ptr).collect();
    let values: Vec<*mut C_tensor> = values.iter_mut().map(Tensor::as_mut_ptr).collect();
    // SAFETY: the tensors are alive and mutably borrowed during the call, `count` of them in either
    // list.
    call(|error, size| unsafe {
        cvhost_average(averages.as_ptr(), values.as_ptr(), count, weight, error, size)
    })
}

/// Sets the gradients of these parameters to undefined.
pub fn clear_gradients<'a>(parameters: impl Iterator<Item = &'a mut Tensor>) -> Result<()> {
    let pointers: Vec<*mut C_tensor> = parameters.map(Tensor::as_mut_ptr).collect();
    // SAFETY: the tensors are alive and mutably borrowed during the call.
    call(|error, size| unsafe { cvhost_clear_gradients(pointers.as_ptr(), pointers.len(), error, size) })
}

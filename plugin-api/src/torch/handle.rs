//! Tensors that cross.

// The raw pointers of libtorch's tensors stay in this file.
use crate::data::{Batch, BatchItem, NamedTensor, TensorHandle};
use crate::error::{PluginError, Result};
use std::ffi::c_void;
use tch::Tensor;
use torch_sys::C_tensor;

extern "C" fn free(tensor: *mut c_void) {
    // SAFETY: `tensor` was made by `TensorHandle::new` below from a tensor of this copy of torch-sys, and a handle frees once.
    // at_free catches C++ exceptions.
    drop(unsafe { Tensor::from_ptr(tensor.cast::<C_tensor>()) });
}

impl TensorHandle {
    /// Hands a tensor over. It keeps its autograd node.
    pub fn new(mut tensor: Tensor) -> Self {
        let pointer = tensor.as_mut_ptr();
        std::mem::forget(tensor);
        TensorHandle {
            tensor: pointer.cast(),
            free,
        }
    }

    /// The tensor: another reference to the same storage and autograd node.
    pub fn tensor(&self) -> Tensor {
        // SAFETY: `self.tensor` is an `at::Tensor*` that lives as long as `self`; clone_from_ptr makes a tensor of its own.
        unsafe { Tensor::clone_from_ptr(self.tensor.cast::<C_tensor>()) }
    }
}

/// A tensor with a name.
pub fn named(name: &str, tensor: Tensor) -> NamedTensor {
    NamedTensor {
        name: name.into(),
        tensor: TensorHandle::new(tensor),
    }
}

/// An item of a batch; `offsets` is empty unless the item is ragged.
pub fn batch_item(name: &str, tensor: Tensor, offsets: Vec<u64>) -> BatchItem {
    BatchItem {
        name: name.into(),
        tensor: TensorHandle::new(tensor),
        offsets: offsets.into(),
        extra: crate::data::Text::new(),
    }
}

impl Batch {
    /// The number of samples.
    pub fn len(&self) -> usize {
        self.metas.len()
    }

    pub fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }

    /// The tensor of that name. The error names what is there.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        Ok(self.item(name)?.tensor.tensor())
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.items.iter().any(|i| i.name == name)
    }

    /// The ragged item of that name: all rows, and how many each sample has.
    pub fn ragged(&self, name: &str) -> Result<(Tensor, Vec<i64>)> {
        let item = self.item(name)?;
        let counts: Vec<i64> = item
            .offsets
            .windows(2)
            .map(|w| w[1] as i64 - w[0] as i64)
            .collect();
        if counts.len() != self.len() {
            return Err(PluginError::failed(format!(
                "`{name}` has rows for {} samples in a batch of {}",
                counts.len(),
                self.len()
            )));
        }
        Ok((item.tensor.tensor(), counts))
    }

    fn item(&self, name: &str) -> Result<&BatchItem> {
        self.items.iter().find(|i| i.name == name).ok_or_else(|| {
            let there: Vec<&str> = self.items.iter().map(|i| i.name.as_str()).collect();
            PluginError::failed(format!("the batch has no `{name}`; it has {there:?}"))
        })
    }
}

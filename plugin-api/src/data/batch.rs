//! What passes between host and model, a batch at a time.

use super::record::Meta;
use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RString, RVec};
use std::ffi::c_void;

/// A libtorch tensor (`at::Tensor*`) with its owner's function to free it. The receiver clones the tensor (both then share
/// one storage and autograd node), and dropping the handle calls the owner.
#[repr(C)]
#[derive(StableAbi)]
pub struct TensorHandle {
    pub(crate) tensor: *mut c_void,
    pub(crate) free: unsafe extern "C" fn(*mut c_void),
}

impl Drop for TensorHandle {
    fn drop(&mut self) {
        // SAFETY: `tensor` was given out by the owner of `free` together with it, and is freed once: here.
        unsafe { (self.free)(self.tensor) }
    }
}

/// A tensor with its name.
#[repr(C)]
#[derive(StableAbi)]
pub struct NamedTensor {
    pub name: RString,
    pub tensor: TensorHandle,
}

/// One tensor of a batch.
#[repr(C)]
#[derive(StableAbi)]
pub struct BatchItem {
    pub name: RString,
    /// Stacked or padded: dimension 0 counts samples. Ragged: the samples' rows one after the other.
    pub tensor: TensorHandle,
    /// Of a ragged item: sample `i` has rows `offsets[i]..offsets[i + 1]`. Empty otherwise.
    pub offsets: RVec<u64>,
}

/// A batch on the model's device.
#[repr(C)]
#[derive(StableAbi)]
pub struct Batch {
    pub items: RVec<BatchItem>,
    /// One a sample.
    pub metas: RVec<Meta>,
}

/// How the host puts one named array of every sample together.
#[repr(transparent)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collate(pub u32);

impl Collate {
    /// All of one shape: a new dimension 0.
    pub const STACK: Self = Self(1);
    /// Filled up to the largest of the batch in every dimension, then stacked.
    pub const PAD: Self = Self(2);
    /// Rows one after the other, with offsets.
    pub const RAGGED: Self = Self(3);
}

/// The collate rule of one named array.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq)]
pub struct CollateRule {
    pub name: RString,
    pub collate: Collate,
    /// What padding is filled with.
    pub fill: f64,
    /// Each padded side is rounded up to a multiple of this; 1 for none.
    pub multiple: u64,
    /// With `PAD`: the name of a u8 tensor `[N, H, W]` that is 1 on the sample and 0 on padding; empty for none.
    pub mask: RString,
}

impl CollateRule {
    pub fn stack(name: &str) -> Self {
        CollateRule {
            name: name.into(),
            collate: Collate::STACK,
            fill: 0.0,
            multiple: 1,
            mask: RString::new(),
        }
    }

    pub fn ragged(name: &str) -> Self {
        CollateRule {
            collate: Collate::RAGGED,
            ..Self::stack(name)
        }
    }

    /// Zero padding at the bottom and right, with a mask tensor of the given name (empty for none).
    pub fn pad(name: &str, mask: &str) -> Self {
        CollateRule {
            collate: Collate::PAD,
            mask: mask.into(),
            ..Self::stack(name)
        }
    }
}

/// What a forward pass is for.
#[repr(transparent)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Mode {
    /// Dropout on; a loss is wanted.
    pub const TRAIN: Self = Self(1);
    /// Dropout off; loss and outputs are wanted.
    pub const EVAL: Self = Self(2);
    /// Dropout off; there are no targets.
    pub const PREDICT: Self = Self(3);
}

/// The circumstances of a forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct StepContext {
    pub mode: Mode,
    /// Optimizer steps so far.
    pub step: u64,
    /// Epochs so far.
    pub epoch: u64,
    /// What `Model::normalisers` gave, summed over the accumulation window and all ranks; empty where it gave nothing.
    pub normalisers: Vec<f64>,
}

/// What a forward pass gives.
#[repr(C)]
#[derive(StableAbi, Default)]
pub struct Output {
    /// A scalar; none in prediction.
    pub loss: ROption<TensorHandle>,
    /// The loss's parts for the log, detached scalars.
    pub parts: RVec<NamedTensor>,
    /// Raw outputs for `finish`, detached.
    pub outputs: RVec<NamedTensor>,
}

//! What passes between the host and a model: batches, collate rules, the context of a step, outputs.

use super::containers::{List, Optional, Text};
use super::record::Meta;
use crate::error::{PluginError, Result};
use abi_stable::StableAbi;
use serde_json::Value;
use std::ffi::c_void;
use std::fmt;

/// A libtorch tensor (`at::Tensor*`) with its owner's function to free it. The receiver clones the
/// tensor (both then share one storage and autograd node), and dropping the handle calls the owner.
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
    pub name: Text,
    pub tensor: TensorHandle,
}

/// One tensor of a batch.
#[repr(C)]
#[derive(StableAbi)]
pub struct BatchItem {
    pub name: Text,
    /// Stacked or padded: dimension 0 counts samples. Ragged: the samples' rows concatenated.
    pub tensor: TensorHandle,
    /// For a ragged item: sample `i` has rows `offsets[i]..offsets[i + 1]`. Empty otherwise.
    pub offsets: List<u64>,
    /// More about the item, as JSON text; empty for none.
    pub extra: Text,
}

/// A batch on the model's device.
#[repr(C)]
#[derive(StableAbi)]
pub struct Batch {
    pub items: List<BatchItem>,
    /// One per sample.
    pub metas: List<Meta>,
    /// More about the batch, as JSON text; empty for none.
    pub extra: Text,
}

/// How the host combines one named array of every sample.
#[repr(transparent)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collate(pub u32);

impl Collate {
    /// Arrays of one shape are stacked along a new dimension 0.
    pub const STACK: Self = Self(1);
    /// Padded to the largest of the batch in every dimension, then stacked.
    pub const PAD: Self = Self(2);
    /// Rows are concatenated, with offsets.
    pub const RAGGED: Self = Self(3);
}

/// The collate rule of one named array.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq)]
pub struct CollateRule {
    pub name: Text,
    pub collate: Collate,
    /// The value of padding.
    pub fill: f64,
    /// Each padded side is rounded up to a multiple of this; 1 for no rounding.
    pub multiple: u64,
    /// With `PAD`: the name of a u8 tensor `[N, H, W]` that is 1 on the sample and 0 on padding;
    /// empty for none.
    pub mask: Text,
    /// More about the rule, as JSON text; empty for none.
    pub extra: Text,
}

impl CollateRule {
    pub fn stack(name: &str) -> Self {
        CollateRule {
            name: name.into(),
            collate: Collate::STACK,
            fill: 0.0,
            multiple: 1,
            mask: Text::new(),
            extra: Text::new(),
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

/// Sums values over all ranks, in place.
pub type Reduce<'a> = &'a dyn Fn(&mut [f64]) -> Result<()>;

/// The context of a forward pass.
#[derive(Clone)]
pub struct StepContext<'a> {
    pub mode: Mode,
    /// Optimizer steps so far.
    pub step: u64,
    /// Optimizer steps that the training is planned to make; 0 where there is no training.
    pub total_steps: u64,
    /// Epochs so far.
    pub epoch: u64,
    /// What `Model::normalisers` returned, summed over the accumulation window and all ranks; empty
    /// where it returned nothing.
    pub normalisers: Vec<f64>,
    /// This process among those that train together: 0 to `world_size` - 1.
    pub rank: u64,
    /// How many processes train together, at least 1.
    pub world_size: u64,
    /// What a newer host says beyond this version; null for nothing.
    pub extra: Value,
    /// The host's way to sum over all ranks; call it through [`StepContext::reduce`].
    pub reduce: Option<Reduce<'a>>,
}

impl<'a> StepContext<'a> {
    /// The context of a single process, before the first step.
    pub fn new(mode: Mode) -> Self {
        StepContext {
            mode,
            step: 0,
            total_steps: 0,
            epoch: 0,
            normalisers: Vec::new(),
            rank: 0,
            world_size: 1,
            extra: Value::Null,
            reduce: None,
        }
    }

    /// This context with the host's way to sum over all ranks.
    #[must_use]
    pub fn with_reduce(mut self, reduce: &'a dyn Fn(&mut [f64]) -> Result<()>) -> Self {
        self.reduce = Some(reduce);
        self
    }

    /// Sums values over all ranks, in place: for a normaliser that is known only after matching. All
    /// ranks must call it equally often, with equally many values. With one rank the values stay.
    ///
    /// # Errors
    /// The ranks could not communicate.
    pub fn reduce(&self, values: &mut [f64]) -> Result<()> {
        match self.reduce {
            Some(reduce) => reduce(values),
            None if self.world_size > 1 => Err(PluginError::failed(format!(
                "rank {} of {} has no way to sum over the ranks",
                self.rank, self.world_size
            ))),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for StepContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepContext")
            .field("mode", &self.mode)
            .field("step", &self.step)
            .field("total_steps", &self.total_steps)
            .field("epoch", &self.epoch)
            .field("normalisers", &self.normalisers)
            .field("rank", &self.rank)
            .field("world_size", &self.world_size)
            .finish_non_exhaustive()
    }
}

/// The result of a forward pass.
#[repr(C)]
#[derive(StableAbi, Default)]
pub struct Output {
    /// A scalar; none in prediction.
    pub loss: Optional<TensorHandle>,
    /// Components of the loss for the log, detached scalars.
    pub parts: List<NamedTensor>,
    /// Raw outputs for `finish`, detached.
    pub outputs: List<NamedTensor>,
    /// More about the outputs, as JSON text; empty for none.
    pub extra: Text,
}

//! A model's parameters as the host sees them.

use super::batch::TensorHandle;
use abi_stable::StableAbi;
use abi_stable::std_types::{RString, RVec};

/// What a parameter is, for optimizer groups and checkpoints: flags that can be combined.
#[repr(transparent)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tags(pub u32);

impl Tags {
    pub const NONE: Self = Self(0);
    /// Belongs to the backbone: trained with the backbone's learning rate.
    pub const BACKBONE: Self = Self(1);
    /// No weight decay: norms and biases.
    pub const NO_DECAY: Self = Self(2);
    /// Its shape follows the number of classes: may be re-initialised.
    pub const CLASS_HEAD: Self = Self(4);
    /// A buffer: saved with the parameters, not trained.
    pub const BUFFER: Self = Self(8);

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One parameter or buffer of a model. A parameter whose tensor requires no gradient is frozen.
#[repr(C)]
#[derive(StableAbi)]
pub struct Parameter {
    /// Its name in `model.safetensors`.
    pub name: RString,
    /// Other names under which files have it; tried in order when `name` is missing.
    pub aliases: RVec<RString>,
    pub tensor: TensorHandle,
    pub tags: Tags,
    /// How deep in the network, 0 nearest to the input, for layer-wise rules.
    pub depth: u32,
}

//! A model's parameters as the host sees them.

use super::batch::TensorHandle;
use super::containers::{List, Text};
use abi_stable::StableAbi;

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
    /// Its shape depends on the number of classes: may be re-initialised.
    pub const CLASS_HEAD: Self = Self(4);
    /// A buffer: saved with the parameters, not trained.
    pub const BUFFER: Self = Self(8);

    /// Both sets of flags.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all flags of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One parameter or buffer of a model. A parameter whose tensor requires no gradient is frozen.
#[repr(C)]
#[derive(StableAbi)]
pub struct Parameter {
    /// Its name in `model.safetensors`.
    pub name: Text,
    /// Other names that files use for it; tried in order when `name` is missing.
    pub aliases: List<Text>,
    pub tensor: TensorHandle,
    pub tags: Tags,
    /// Depth in the network, 0 nearest to the input, for layer-wise rules.
    pub depth: u32,
    /// More about the parameter, as JSON text; empty for none.
    pub extra: Text,
}

impl Parameter {
    /// A parameter at depth 0 without aliases.
    pub fn new(name: &str, tensor: TensorHandle, tags: Tags) -> Self {
        Parameter {
            name: name.into(),
            aliases: List::new(),
            tensor,
            tags,
            depth: 0,
            extra: Text::new(),
        }
    }

    /// This parameter with other names that files use for it.
    #[must_use]
    pub fn with_aliases<T: Into<Text>>(mut self, aliases: impl IntoIterator<Item = T>) -> Self {
        self.aliases = aliases.into_iter().map(Into::into).collect();
        self
    }

    /// This parameter at another depth of the network.
    #[must_use]
    pub fn at_depth(mut self, depth: u32) -> Self {
        self.depth = depth;
        self
    }
}

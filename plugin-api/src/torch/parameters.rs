//! Named parameters: what a network is built from, and what the host loads, trains and saves.

use crate::data::{Parameter, Tags, TensorHandle};
use crate::error::{PluginError, Result};
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tch::{Device, Kind, Tensor, no_grad};

/// How a parameter is initialised when no checkpoint gives it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    Constant(f64),
    /// Normal with mean 0.
    Normal {
        std: f64,
    },
    Uniform {
        low: f64,
        high: f64,
    },
    /// Glorot and Bengio 2010: uniform in ± gain · √(6 / (fan_in + fan_out)).
    XavierUniform {
        gain: f64,
    },
    /// He et al. 2015 for ReLU, over the outputs: normal with std √(2 / fan_out).
    KaimingNormalFanOut,
    /// torch's own default for linear and convolution weights: uniform in ± 1 / √fan_in.
    FanInUniform,
}

struct Entry {
    name: String,
    tensor: Tensor,
    init: Init,
    tags: Tags,
    depth: u32,
}

/// Shared by a set and its scopes. A model goes from the thread that builds it to the one that trains it, hence no `Rc`.
type Entries = Arc<Mutex<Vec<Entry>>>;

/// The list; a panic while it was held leaves it whole, since entries are only appended.
fn lock(entries: &Entries) -> MutexGuard<'_, Vec<Entry>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The parameters and buffers of one model, in the order in which they were made. They start uninitialised: the host fills
/// them from a checkpoint and has [`ParameterSet::initialise`] called for the rest.
#[derive(Default)]
pub struct ParameterSet {
    entries: Entries,
}

/// A place in the tree of names under which parameters are made.
#[derive(Clone)]
pub struct Scope {
    entries: Entries,
    prefix: String,
    tags: Tags,
    depth: u32,
    frozen: bool,
}

impl ParameterSet {
    pub fn new() -> Self {
        Self::default()
    }

    /// The root of the names.
    pub fn root(&self) -> Scope {
        Scope {
            entries: Arc::clone(&self.entries),
            prefix: String::new(),
            tags: Tags::NONE,
            depth: 0,
            frozen: false,
        }
    }

    /// Fills the named parameters by their rule. Unknown names are an error.
    pub fn initialise(&self, names: &[&str]) -> Result<()> {
        let mut entries = lock(&self.entries);
        for name in names {
            let entry = entries
                .iter_mut()
                .find(|e| e.name == *name)
                .ok_or_else(|| PluginError::failed(format!("the model has no parameter `{name}`")))?;
            fill(&mut entry.tensor, entry.init);
        }
        Ok(())
    }

    /// The list for the host. `aliases` gives further names under which files may have a parameter.
    pub fn list(&self, aliases: impl Fn(&str) -> Vec<String>) -> Vec<Parameter> {
        lock(&self.entries)
            .iter()
            .map(|e| {
                Parameter::new(&e.name, TensorHandle::new(e.tensor.shallow_clone()), e.tags)
                    .with_aliases(aliases(&e.name))
                    .at_depth(e.depth)
            })
            .collect()
    }
}

impl Scope {
    /// The scope `name` below this one.
    #[must_use]
    pub fn sub(&self, name: impl Display) -> Scope {
        Scope {
            prefix: self.full_name(&name.to_string()),
            ..self.clone()
        }
    }

    /// This scope, with `tags` added to all that is made in it.
    #[must_use]
    pub fn tagged(&self, tags: Tags) -> Scope {
        Scope {
            tags: self.tags.and(tags),
            ..self.clone()
        }
    }

    /// This scope at another depth of the network.
    #[must_use]
    pub fn at_depth(&self, depth: u32) -> Scope {
        Scope {
            depth,
            ..self.clone()
        }
    }

    /// This scope, with no gradient for what is made in it.
    #[must_use]
    pub fn frozen(&self) -> Scope {
        Scope {
            frozen: true,
            ..self.clone()
        }
    }

    /// A trainable float32 parameter.
    pub fn parameter(&self, name: &str, shape: &[i64], init: Init) -> Tensor {
        self.add(name, shape, Kind::Float, init, self.tags)
            .set_requires_grad(!self.frozen)
    }

    /// A trainable float32 parameter without weight decay: a norm's weight, or a bias.
    pub fn no_decay(&self, name: &str, shape: &[i64], init: Init) -> Tensor {
        self.add(name, shape, Kind::Float, init, self.tags.and(Tags::NO_DECAY))
            .set_requires_grad(!self.frozen)
    }

    /// A float32 buffer: saved, not trained.
    pub fn buffer(&self, name: &str, shape: &[i64], init: Init) -> Tensor {
        self.add(name, shape, Kind::Float, init, self.tags.and(Tags::BUFFER))
    }

    /// An int64 scalar that is saved, not trained, and starts at 0: how many batches a norm has seen.
    pub fn counter(&self, name: &str) -> Tensor {
        let tags = self.tags.and(Tags::BUFFER);
        self.add(name, &[], Kind::Int64, Init::Constant(0.0), tags)
    }

    fn add(&self, name: &str, shape: &[i64], kind: Kind, init: Init, tags: Tags) -> Tensor {
        let tensor = Tensor::empty(shape, (kind, Device::Cpu));
        lock(&self.entries).push(Entry {
            name: self.full_name(name),
            tensor: tensor.shallow_clone(),
            init,
            tags,
            depth: self.depth,
        });
        tensor
    }

    fn full_name(&self, name: &str) -> String {
        if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.prefix)
        }
    }
}

fn fill(tensor: &mut Tensor, init: Init) {
    let shape = tensor.size();
    let receptive: i64 = shape.iter().skip(2).product();
    let fan_out = shape.first().copied().unwrap_or(1) * receptive;
    let fan_in = shape.get(1).copied().unwrap_or(1) * receptive;
    no_grad(|| {
        let _ = match init {
            Init::Constant(value) => tensor.fill_(value),
            Init::Normal { std } => tensor.normal_(0.0, std),
            Init::Uniform { low, high } => tensor.uniform_(low, high),
            Init::XavierUniform { gain } => {
                let bound = gain * (6.0 / (fan_in + fan_out).max(1) as f64).sqrt();
                tensor.uniform_(-bound, bound)
            }
            Init::KaimingNormalFanOut => tensor.normal_(0.0, (2.0 / fan_out.max(1) as f64).sqrt()),
            Init::FanInUniform => {
                let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
                tensor.uniform_(-bound, bound)
            }
        };
    });
}

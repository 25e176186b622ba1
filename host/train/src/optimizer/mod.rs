//! Optimizers over groups of parameters.

mod method;

use cvhost::config::{OptimizerKind, OptimizerParams, TrainingConfig};
use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::{Parameter, Tags};
use cvhost_torch::shim::{clear_gradients, clip_gradients, clip_values, unscale_gradients};
use method::{Method, Slot};
use tch::Tensor;

/// The rules that assign parameters to groups.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupRules {
    pub optimizer: OptimizerKind,
    pub params: OptimizerParams,
    pub weight_decay: f64,
    /// The factor on the learning rate of the backbone.
    pub backbone_lr_scale: f64,
    /// The factor on the learning rate of a layer, relative to the next deeper one (BEiT, Bao et
    /// al. 2022).
    pub layer_decay: f64,
    /// Patterns for the names of parameters that are not trained.
    pub freeze: Vec<String>,
    /// The epoch from which they are trained.
    pub unfreeze_at_epoch: Option<u64>,
}

impl GroupRules {
    pub fn new(training: &TrainingConfig) -> Self {
        GroupRules {
            optimizer: training.optimizer,
            params: training.optimizer_params,
            weight_decay: training.weight_decay,
            backbone_lr_scale: training.backbone_lr_scale,
            layer_decay: training.layer_decay,
            freeze: training.freeze.clone(),
            unfreeze_at_epoch: training.unfreeze_at_epoch.map(u64::from),
        }
    }
}

/// How gradients are clipped: first each value, then the norm over all gradients.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Clip {
    pub value: Option<f64>,
    pub norm: Option<f64>,
}

impl Clip {
    /// The configured clipping; 0 doesn't clip.
    pub fn new(training: &TrainingConfig) -> Self {
        Clip {
            value: training.gradient_clip_value.filter(|c| *c > 0.0),
            norm: training.gradient_clip.filter(|c| *c > 0.0),
        }
    }
}

/// Parameters with the same method, factor on the learning rate, and weight decay.
struct Group {
    method: Method,
    rate_factor: f64,
    decay: f64,
    slots: Vec<Slot>,
}

/// A parameter that is frozen until an epoch.
struct Frozen {
    name: String,
    tensor: Tensor,
    group: (Method, f64, f64),
}

/// Updates parameters by the rules of their groups. Norms and biases have no weight decay; the
/// backbone has its own learning rate, and each layer may have one.
pub struct Optimizer {
    groups: Vec<Group>,
    frozen: Vec<Frozen>,
    unfreeze_at_epoch: Option<u64>,
}

impl Optimizer {
    /// Groups the trainable parameters. A parameter that `rules.freeze` matches loses its gradient.
    ///
    /// # Errors
    /// A pattern to freeze matches nothing, which is almost certainly a typing error; nothing is
    /// left to train; there is no memory for the state.
    pub fn new(parameters: &[Parameter], rules: &GroupRules) -> Result<Self> {
        let deepest = parameters.iter().map(|p| p.depth).max().unwrap_or(0);
        let mut optimizer = Optimizer {
            groups: Vec::new(),
            frozen: Vec::new(),
            unfreeze_at_epoch: rules.unfreeze_at_epoch,
        };
        let mut unmatched: Vec<&String> = rules.freeze.iter().collect();
        for parameter in parameters {
            let tensor = parameter.tensor.tensor();
            if parameter.tags.has(Tags::BUFFER) || !tensor.requires_grad() {
                continue;
            }
            let name = parameter.name.as_str();
            let group = group_of(parameter, &tensor, rules, deepest);
            let matching: Vec<&String> = rules.freeze.iter().filter(|p| matches(p, name)).collect();
            if matching.is_empty() {
                optimizer.add(Slot::new(name, tensor, group.0, false)?, group);
                continue;
            }
            unmatched.retain(|p| !matching.contains(p));
            let _ = tensor.set_requires_grad(false);
            optimizer.frozen.push(Frozen {
                name: name.to_owned(),
                tensor,
                group,
            });
        }
        if let Some(pattern) = unmatched.first() {
            return Err(Error::usage(format!(
                "`training.freeze`: `{pattern}` matches no trainable parameter"
            ))
            .with_help("patterns match names of model.safetensors, with `*` for anything"));
        }
        if deepest == 0 && rules.layer_decay < 1.0 {
            tracing::warn!(
                "`training.layer_decay` has no effect: this model doesn't report the depth of its layers"
            );
        }
        if optimizer.groups.is_empty() {
            return Err(Error::usage("no parameter is left to train").with_help(
                "`training.freeze` matches every trainable parameter; make its patterns narrower",
            ));
        }
        Ok(optimizer)
    }

    fn add(&mut self, slot: Slot, (method, rate_factor, decay): (Method, f64, f64)) {
        let same = |g: &&mut Group| g.method == method && g.rate_factor == rate_factor && g.decay == decay;
        match self.groups.iter_mut().find(same) {
            Some(group) => group.slots.push(slot),
            None => self.groups.push(Group {
                method,
                rate_factor,
                decay,
                slots: vec![slot],
            }),
        }
    }

    /// Begins an epoch: from `unfreeze_at_epoch` on, frozen parameters are trained. Returns the
    /// number of elements in those that were unfrozen now.
    pub fn begin_epoch(&mut self, epoch: u64) -> Result<usize> {
        if self.unfreeze_at_epoch.is_none_or(|at| epoch < at) {
            return Ok(0);
        }
        let mut numbers = 0;
        for frozen in std::mem::take(&mut self.frozen) {
            let tensor = frozen.tensor.set_requires_grad(true);
            numbers += tensor.numel();
            let slot = Slot::new(&frozen.name, tensor, frozen.group.0, true)?;
            self.add(slot, frozen.group);
        }
        Ok(numbers)
    }

    /// The name, the factor on the learning rate, and the weight decay of each trained parameter.
    pub fn trained(&self) -> impl Iterator<Item = (&str, f64, f64)> {
        self.groups.iter().flat_map(|group| {
            let slots = group.slots.iter();
            slots.map(|slot| (slot.name.as_str(), group.rate_factor, group.decay))
        })
    }

    /// The number of elements in all trained parameters.
    pub fn trained_parameters(&self) -> usize {
        self.slots().map(|s| s.parameter.numel()).sum()
    }

    /// Divides all gradients by the loss scale. Returns a float32 scalar: 1 if a value is infinite
    /// or NaN, otherwise 0. `None` without gradients.
    pub fn unscale(&self, scale: f64) -> Result<Option<Tensor>> {
        let mut gradients = self.gradients();
        if gradients.is_empty() {
            return Ok(None);
        }
        unscale_gradients(&mut gradients, scale).map(Some)
    }

    /// The gradients of the trained parameters, in their order, without those that are not defined.
    pub fn gradients(&self) -> Vec<Tensor> {
        let gradients = self.slots().map(|s| s.parameter.grad());
        gradients.filter(Tensor::defined).collect()
    }

    /// Clips the gradients. Returns their 2-norm before clipping as a scalar tensor, `None` without
    /// gradients.
    pub fn clip(&self, clip: Clip) -> Result<Option<Tensor>> {
        let mut gradients = self.gradients();
        if gradients.is_empty() {
            return Ok(None);
        }
        let Some(most) = clip.value else {
            return clip_gradients(&mut gradients, clip.norm).map(Some);
        };
        // Clipping a value hides an infinity, so the norm is computed before.
        let norm = clip_gradients(&mut gradients, None)?;
        clip_values(&mut gradients, most)?;
        if clip.norm.is_some() {
            let _norm_of_clipped = clip_gradients(&mut gradients, clip.norm)?;
        }
        Ok(Some(norm))
    }

    /// Does one step with the base learning rate `rate`. A parameter without a gradient doesn't
    /// change.
    pub fn step(&mut self, rate: f64) -> Result<()> {
        for group in &self.groups {
            group
                .method
                .step(&group.slots, rate * group.rate_factor, group.decay)?;
        }
        Ok(())
    }

    /// Removes the gradients: a parameter that the next loss doesn't reach then has none, and is
    /// not updated.
    pub fn clear_gradients(&mut self) -> Result<()> {
        clear_gradients(
            self.groups
                .iter_mut()
                .flat_map(|g| &mut g.slots)
                .map(|s| &mut s.parameter),
        )
    }

    /// The state for a checkpoint, under the names that [`Optimizer::restore`] expects.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.slots().flat_map(Slot::state).collect()
    }

    /// Restores what [`Optimizer::state`] returned. Parameters that have just been unfrozen may be
    /// missing.
    pub fn restore(&mut self, state: &[(String, Tensor)]) -> Result<()> {
        let slots = self.groups.iter_mut().flat_map(|g| &mut g.slots);
        slots.into_iter().try_for_each(|slot| slot.restore(state))
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.groups.iter().flat_map(|g| &g.slots)
    }
}

/// The method, the factor on the learning rate, and the weight decay of a parameter.
fn group_of(parameter: &Parameter, tensor: &Tensor, rules: &GroupRules, deepest: u32) -> (Method, f64, f64) {
    let backbone = if parameter.tags.has(Tags::BACKBONE) {
        rules.backbone_lr_scale
    } else {
        1.0
    };
    let layer = rules
        .layer_decay
        .powf(f64::from(deepest.saturating_sub(parameter.depth)));
    let decay = if parameter.tags.has(Tags::NO_DECAY) {
        0.0
    } else {
        rules.weight_decay
    };
    // Muon is for matrices between hidden states; its authors use AdamW for embeddings and heads.
    // The deepest parameters are heads.
    let head = parameter.tags.has(Tags::CLASS_HEAD) || (deepest > 0 && parameter.depth == deepest);
    let hidden = tensor.dim() == 2 && !head && !parameter.name.as_str().contains("embed");
    (
        Method::new(rules.optimizer, rules.params, hidden),
        backbone * layer,
        decay,
    )
}

/// Whether a name matches a pattern in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((prefix, rest)) => name.strip_prefix(prefix).is_some_and(|tail| {
            tail.char_indices()
                .map(|(at, _)| at)
                .chain([tail.len()])
                .any(|at| matches(rest, &tail[at..]))
        }),
    }
}

#[cfg(test)]
mod tests;

//! AdamW over groups of parameters.

use crate::shim::{AdamW, AdamWSlot, clear_gradients, clip_gradients, fused_adamw};
use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::{Parameter, Tags};
use tch::{Device, Kind, Tensor, no_grad};

/// What decides a parameter's group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupRules {
    pub weight_decay: f64,
    /// The backbone's learning rate as a factor.
    pub backbone_lr_scale: f64,
    /// Patterns of names that are not trained.
    pub freeze: Vec<String>,
}

/// Parameters that share a learning rate factor and a weight decay.
struct Group {
    rate_factor: f64,
    decay: f64,
    slots: Vec<Slot>,
}

struct Slot {
    name: String,
    parameter: Tensor,
    average: Tensor,
    square: Tensor,
    step: Tensor,
}

/// AdamW (Loshchilov and Hutter 2019) with β = (0.9, 0.999) and ε = 1e-8, as torch.optim.AdamW computes it. Norms and biases
/// have no weight decay; the backbone has a learning rate of its own.
pub struct Optimizer {
    groups: Vec<Group>,
    /// Freezing patterns that matched nothing: almost surely a typing error.
    pub unmatched_patterns: Vec<String>,
}

impl Optimizer {
    /// Groups the trainable parameters. A parameter that `rules.freeze` matches loses its gradient.
    pub fn new(parameters: &[Parameter], rules: &GroupRules) -> Result<Self> {
        let mut unmatched = rules.freeze.clone();
        let mut groups: Vec<Group> = Vec::new();
        for parameter in parameters {
            let tensor = parameter.tensor.tensor();
            if parameter.tags.has(Tags::BUFFER) || !tensor.requires_grad() {
                continue;
            }
            let name = parameter.name.as_str();
            let matching: Vec<&String> = rules.freeze.iter().filter(|p| matches(p, name)).collect();
            if !matching.is_empty() {
                unmatched.retain(|p| !matching.contains(&p));
                let _ = tensor.set_requires_grad(false);
                continue;
            }
            let rate_factor = if parameter.tags.has(Tags::BACKBONE) {
                rules.backbone_lr_scale
            } else {
                1.0
            };
            let decay = if parameter.tags.has(Tags::NO_DECAY) {
                0.0
            } else {
                rules.weight_decay
            };
            let slot = Slot::new(name, tensor);
            match groups
                .iter_mut()
                .find(|g| g.rate_factor == rate_factor && g.decay == decay)
            {
                Some(group) => group.slots.push(slot),
                None => groups.push(Group {
                    rate_factor,
                    decay,
                    slots: vec![slot],
                }),
            }
        }
        if groups.is_empty() {
            return Err(Error::usage("no parameter is left to train").with_help(
                "`training.freeze` matches every trainable parameter; make its patterns narrower",
            ));
        }
        Ok(Optimizer {
            groups,
            unmatched_patterns: unmatched,
        })
    }

    /// How many numbers are trained.
    pub fn trained_numbers(&self) -> usize {
        self.slots().map(|s| s.parameter.numel()).sum()
    }

    /// The 2-norm over all gradients, a scalar tensor; with `max_norm` they are scaled down to it. `None` without gradients.
    pub fn clip(&self, max_norm: Option<f64>) -> Result<Option<Tensor>> {
        let mut gradients: Vec<Tensor> = self
            .slots()
            .map(|s| s.parameter.grad())
            .filter(Tensor::defined)
            .collect();
        if gradients.is_empty() {
            return Ok(None);
        }
        clip_gradients(&mut gradients, max_norm).map(Some)
    }

    /// One step with the base learning rate. A parameter without a gradient stays as it is.
    pub fn step(&mut self, rate: f64) -> Result<()> {
        for group in &self.groups {
            let mut slots: Vec<AdamWSlot> = group.slots.iter().filter_map(Slot::with_gradient).collect();
            let settings = AdamW {
                rate: rate * group.rate_factor,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                decay: group.decay,
            };
            fused_adamw(&mut slots, settings)?;
        }
        Ok(())
    }

    /// Forgets the gradients: a parameter that the next loss doesn't reach has none, and is not stepped.
    pub fn clear_gradients(&mut self) -> Result<()> {
        clear_gradients(
            self.groups
                .iter_mut()
                .flat_map(|g| &mut g.slots)
                .map(|s| &mut s.parameter),
        )
    }

    /// What a resumed run needs, under names that [`Optimizer::restore`] knows.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.slots()
            .flat_map(|s| {
                let named =
                    |part: &str, t: &Tensor| (format!("optimizer.{}.{part}", s.name), t.shallow_clone());
                [
                    named("average", &s.average),
                    named("square", &s.square),
                    named("step", &s.step),
                ]
            })
            .collect()
    }

    /// Takes over what [`Optimizer::state`] gave.
    pub fn restore(&mut self, state: &[(String, Tensor)]) -> Result<()> {
        let find = |slot: &Slot, part: &str, like: &Tensor| {
            let name = format!("optimizer.{}.{part}", slot.name);
            let stored = state.iter().find(|(n, _)| *n == name).map(|(_, t)| t).ok_or_else(|| {
                Error::input(format!("the training state lacks `{name}`"))
                    .with_help("the model or `training.freeze` changed since; start a new run from the checkpoint instead")
            })?;
            if stored.size() != like.size() {
                return Err(Error::input(format!(
                    "`{name}` in the training state has shape {:?}, the model's has {:?}",
                    stored.size(),
                    like.size()
                )));
            }
            Ok(stored.shallow_clone())
        };
        for slot in self.groups.iter_mut().flat_map(|g| &mut g.slots) {
            let average = find(slot, "average", &slot.average)?;
            let square = find(slot, "square", &slot.square)?;
            let step = find(slot, "step", &slot.step)?;
            no_grad(|| {
                slot.average.copy_(&average);
                slot.square.copy_(&square);
                slot.step.copy_(&step);
            });
        }
        Ok(())
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.groups.iter().flat_map(|g| &g.slots)
    }
}

impl Slot {
    fn new(name: &str, parameter: Tensor) -> Self {
        let device = parameter.device();
        Slot {
            name: name.to_owned(),
            average: parameter.zeros_like().set_requires_grad(false),
            square: parameter.zeros_like().set_requires_grad(false),
            step: Tensor::zeros([], (Kind::Float, device)),
            parameter,
        }
    }

    fn with_gradient(&self) -> Option<AdamWSlot> {
        let gradient = self.parameter.grad();
        gradient.defined().then(|| AdamWSlot {
            parameter: self.parameter.shallow_clone(),
            gradient,
            average: self.average.shallow_clone(),
            square: self.square.shallow_clone(),
            step: self.step.shallow_clone(),
        })
    }
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

/// Moves parameters to a device in place: who holds them sees the moved data.
pub fn move_to(parameters: &[Parameter], device: Device) {
    for parameter in parameters {
        let mut tensor = parameter.tensor.tensor();
        if tensor.device() != device {
            no_grad(|| {
                let moved = tensor.to_device(device);
                tensor.set_data(&moved);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost_plugin_api::torch::{Init, ParameterSet};

    fn rules(freeze: &[&str]) -> GroupRules {
        let freeze = freeze.iter().map(ToString::to_string).collect();
        GroupRules {
            weight_decay: 0.5,
            backbone_lr_scale: 0.0,
            freeze,
        }
    }

    #[test]
    fn patterns_match_like_file_names() {
        assert!(matches("model.backbone.*", "model.backbone.conv.weight"));
        assert!(matches("*.bias", "a.b.bias"));
        assert!(matches("a*c*e", "abcde"));
        assert!(!matches("*.bias", "a.bias.x"));
        assert!(!matches("model", "model.x"));
    }

    #[test]
    fn the_backbone_has_its_own_rate_and_norms_do_not_decay() {
        let set = ParameterSet::new();
        let root = set.root();
        let body = root
            .tagged(Tags::BACKBONE)
            .parameter("body", &[1], Init::Constant(1.0));
        let weight = root.parameter("weight", &[1], Init::Constant(1.0));
        let bias = root.no_decay("bias", &[1], Init::Constant(1.0));
        let still = root.parameter("still", &[1], Init::Constant(1.0));
        set.initialise(&["body", "weight", "bias", "still"]).unwrap();
        let mut optimizer = Optimizer::new(&set.list(|_| vec![]), &rules(&["stil*", "typo.*"])).unwrap();
        assert_eq!(optimizer.unmatched_patterns, ["typo.*"]);
        assert_eq!(optimizer.trained_numbers(), 3);
        (&body + &weight + &bias + &still).sum(Kind::Float).backward();
        optimizer.step(0.1).unwrap();
        let value = |t: &Tensor| t.double_value(&[0]);
        // AdamW's first step moves by the rate; decay takes rate·decay·value first.
        assert_eq!(value(&body), 1.0);
        assert_eq!(value(&still), 1.0);
        assert!((value(&bias) - 0.9).abs() < 1e-6, "{}", value(&bias));
        assert!((value(&weight) - (0.95 - 0.1)).abs() < 1e-6, "{}", value(&weight));
    }

    #[test]
    fn freezing_everything_is_refused() {
        let set = ParameterSet::new();
        let _ = set.root().parameter("weight", &[1], Init::Constant(1.0));
        assert!(Optimizer::new(&set.list(|_| vec![]), &rules(&["*"])).is_err());
    }
}

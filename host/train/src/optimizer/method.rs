//! The update rules of optimizers, and their state per parameter.

use cvhost::config::{OptimizerKind, OptimizerParams};
use cvhost::error::{Error, Result};
use cvhost_torch::scalars::torch_error;
use cvhost_torch::shim::{AdamW, AdamWSlot, Sgd, SgdSlot, fused_adamw, fused_sgd};
use tch::{Kind, TchError, Tensor, no_grad};

/// An update rule with its constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// Like torch.optim.AdamW.
    AdamW { beta1: f64, beta2: f64, epsilon: f64 },
    /// Like torch.optim.SGD without dampening.
    Sgd { momentum: f64, nesterov: bool },
    /// Like torch.optim.Muon with `adjust_lr_fn="match_rms_adamw"`, so that AdamW and Muon can have
    /// the same learning rate.
    Muon { momentum: f64, nesterov: bool },
}

impl Method {
    /// The method for a parameter; `hidden` says whether it is a matrix between hidden states.
    pub fn new(kind: OptimizerKind, params: OptimizerParams, hidden: bool) -> Self {
        let adamw = Method::AdamW {
            beta1: params.beta1.unwrap_or(0.9),
            beta2: params.beta2.unwrap_or(0.999),
            epsilon: params.epsilon.unwrap_or(1e-8),
        };
        match kind {
            OptimizerKind::AdamW => adamw,
            OptimizerKind::Sgd => Method::Sgd {
                momentum: params.momentum.unwrap_or(0.9),
                nesterov: params.nesterov.unwrap_or(false),
            },
            OptimizerKind::Muon if hidden => Method::Muon {
                momentum: params.momentum.unwrap_or(0.95),
                nesterov: params.nesterov.unwrap_or(true),
            },
            OptimizerKind::Muon => adamw,
        }
    }

    /// Updates all slots that have gradients.
    pub fn step(self, slots: &[Slot], rate: f64, decay: f64) -> Result<()> {
        let ready = slots.iter().filter(|s| s.parameter.grad().defined());
        match self {
            Method::AdamW {
                beta1,
                beta2,
                epsilon,
            } => {
                let mut slots: Vec<AdamWSlot> = ready.filter_map(Slot::adamw).collect();
                let with = AdamW {
                    rate,
                    beta1,
                    beta2,
                    epsilon,
                    decay,
                };
                fused_adamw(&mut slots, with)
            }
            Method::Sgd { momentum, nesterov } => {
                let mut slots: Vec<SgdSlot> = ready.filter_map(Slot::sgd).collect();
                let with = Sgd {
                    rate,
                    momentum,
                    decay,
                    nesterov: nesterov && momentum > 0.0,
                };
                fused_sgd(&mut slots, with)
            }
            Method::Muon { momentum, nesterov } => {
                let steps = || ready.map(|slot| slot.muon(rate, decay, momentum, nesterov));
                no_grad(|| steps().collect::<Result<(), TchError>>())
                    .map_err(|e| torch_error("step the optimizer", &e))
            }
        }
    }
}

/// A parameter with its optimizer state.
pub struct Slot {
    pub name: String,
    pub parameter: Tensor,
    memory: Memory,
    /// Whether it was frozen at first: a checkpoint from that time has no state for it.
    late: bool,
}

enum Memory {
    AdamW {
        average: Tensor,
        square: Tensor,
        /// Steps so far, float32 scalar.
        step: Tensor,
    },
    Momentum(Tensor),
}

impl Memory {
    fn new(parameter: &Tensor, method: Method) -> Result<Self, TchError> {
        let zeros = || parameter.f_zeros_like()?.f_set_requires_grad(false);
        Ok(match method {
            Method::AdamW { .. } => Memory::AdamW {
                average: zeros()?,
                square: zeros()?,
                step: Tensor::f_zeros([], (Kind::Float, parameter.device()))?,
            },
            Method::Sgd { .. } | Method::Muon { .. } => Memory::Momentum(zeros()?),
        })
    }

    fn parts(&self) -> Vec<(&'static str, &Tensor)> {
        match self {
            Memory::AdamW {
                average,
                square,
                step,
            } => vec![("average", average), ("square", square), ("step", step)],
            Memory::Momentum(momentum) => vec![("momentum", momentum)],
        }
    }
}

impl Slot {
    /// A parameter with an initial state.
    ///
    /// # Errors
    /// There is no memory for the state.
    pub fn new(name: &str, parameter: Tensor, method: Method, late: bool) -> Result<Self> {
        let memory = Memory::new(&parameter, method)
            .map_err(|e| torch_error("allocate the optimizer's state", &e).within(format!("`{name}`")))?;
        Ok(Slot {
            name: name.to_owned(),
            memory,
            parameter,
            late,
        })
    }

    pub fn state(&self) -> Vec<(String, Tensor)> {
        let parts = self.memory.parts().into_iter();
        parts
            .map(|(part, tensor)| (format!("optimizer.{}.{part}", self.name), tensor.shallow_clone()))
            .collect()
    }

    /// Restores what [`Slot::state`] returned: all of it or, with an error, nothing. Only the state
    /// of a parameter that was frozen at first may be missing, and then as a whole.
    pub fn restore(&mut self, state: &[(String, Tensor)]) -> Result<()> {
        let name = |part: &str| format!("optimizer.{}.{part}", self.name);
        let find = |part: &str| {
            let name = name(part);
            state.iter().find(|(n, _)| *n == name).map(|(_, tensor)| tensor)
        };
        let parts = self.memory.parts();
        if self.late && parts.iter().all(|(part, _)| find(part).is_none()) {
            return Ok(());
        }
        let mut found = Vec::with_capacity(parts.len());
        for (part, target) in parts {
            let stored = find(part).ok_or_else(|| {
                Error::input(format!("the training state lacks `{}`", name(part))).with_help(
                    "the model, `training.optimizer` or `training.freeze` has changed since; start a new run from the checkpoint \
                     instead",
                )
            })?;
            if stored.size() != target.size() {
                return Err(Error::input(format!(
                    "`{}` in the training state has shape {:?}, the model's has {:?}",
                    name(part),
                    stored.size(),
                    target.size()
                ))
                .with_help(
                    "the model's shape or the number of classes has changed since; start a new run from the checkpoint instead",
                ));
            }
            found.push((target, stored));
        }
        for (target, stored) in found {
            no_grad(|| target.shallow_clone().f_copy_(stored))
                .map_err(|e| torch_error("restore the optimizer's state", &e))?;
        }
        Ok(())
    }

    fn adamw(&self) -> Option<AdamWSlot> {
        let Memory::AdamW {
            average,
            square,
            step,
        } = &self.memory
        else {
            return None;
        };
        Some(AdamWSlot {
            parameter: self.parameter.shallow_clone(),
            gradient: self.parameter.grad(),
            average: average.shallow_clone(),
            square: square.shallow_clone(),
            step: step.shallow_clone(),
        })
    }

    fn sgd(&self) -> Option<SgdSlot> {
        let Memory::Momentum(momentum) = &self.memory else {
            return None;
        };
        Some(SgdSlot {
            parameter: self.parameter.shallow_clone(),
            gradient: self.parameter.grad(),
            momentum: momentum.shallow_clone(),
        })
    }

    fn muon(&self, rate: f64, decay: f64, momentum: f64, nesterov: bool) -> Result<(), TchError> {
        let Memory::Momentum(buffer) = &self.memory else {
            return Ok(());
        };
        let gradient = self.parameter.f_grad()?;
        let _ = buffer.shallow_clone().f_lerp_(&gradient, 1.0 - momentum)?;
        let update = if nesterov {
            gradient.f_lerp(buffer, momentum)?
        } else {
            buffer.shallow_clone()
        };
        let size = self.parameter.size();
        let longest = size.iter().copied().max().unwrap_or(1) as f64;
        let step = orthogonalised(&update)?
            .f_to_kind(self.parameter.kind())?
            .f_mul_scalar(-rate * 0.2 * longest.sqrt())?;
        let mut parameter = self.parameter.shallow_clone();
        let _ = parameter.f_mul_scalar_(1.0 - rate * decay)?;
        let _ = parameter.f_add_(&step)?;
        Ok(())
    }
}

/// The nearest matrix whose singular values are all about 1, by five Newton-Schulz steps in
/// bfloat16 (Jordan et al. 2024).
fn orthogonalised(matrix: &Tensor) -> Result<Tensor, TchError> {
    const A: f64 = 3.4445;
    const B: f64 = -4.775;
    const C: f64 = 2.0315;
    let size = matrix.size();
    let tall = size.first() > size.get(1);
    let mut x = matrix.f_to_kind(Kind::BFloat16)?;
    if tall {
        x = x.f_tr()?;
    }
    x = x.f_div(&x.f_norm()?.f_clamp_min(1e-7)?)?.f_unsqueeze(0)?;
    for _ in 0..5 {
        let gram = x.f_bmm(&x.f_transpose(1, 2)?)?;
        x = x.f_baddbmm(&gram.f_baddbmm(&gram, &gram, B, C)?, &x, A, 1.0)?;
    }
    let x = x.f_squeeze_dim(0)?;
    if tall { x.f_tr() } else { Ok(x) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn a_state_is_taken_over_whole_or_not_at_all() {
        let method = Method::new(OptimizerKind::AdamW, OptimizerParams::default(), false);
        let ones = || Tensor::ones([2], (Kind::Float, Device::Cpu));
        let names = ["average", "square", "step"].map(|part| format!("optimizer.w.{part}"));
        let state = |present: &[usize]| -> Vec<(String, Tensor)> {
            let tensor = |i: usize| if i == 2 { Tensor::from(7.0f32) } else { ones() };
            present.iter().map(|&i| (names[i].clone(), tensor(i))).collect()
        };
        for late in [false, true] {
            let mut slot = Slot::new("w", ones(), method, late).unwrap();
            let sum = |slot: &Slot| -> f64 {
                let parts = slot.state();
                parts
                    .iter()
                    .map(|(_, t)| t.sum(Kind::Double).double_value(&[]))
                    .sum()
            };
            for part_of_it in [&[0][..], &[0, 1], &[1, 2]] {
                let error = slot.restore(&state(part_of_it)).unwrap_err();
                assert!(error.to_string().contains("lacks `optimizer.w."), "{error}");
                assert_eq!(sum(&slot), 0.0, "{part_of_it:?} was restored");
            }
            assert_eq!(slot.restore(&[]).is_ok(), late);
            slot.restore(&state(&[0, 1, 2])).unwrap();
            assert_eq!(sum(&slot), 2.0 + 2.0 + 7.0);
        }
    }
}

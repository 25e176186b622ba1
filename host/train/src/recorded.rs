//! Reference values computed by torch (`fixtures/record.py`), for tests.

use cvhost_plugin_api::data::{Parameter, Tags, TensorHandle};
use serde_json::Value;
use tch::{Kind, Tensor};

pub struct Recorded(Value);

impl Recorded {
    pub fn load() -> Self {
        Recorded(serde_json::from_str(include_str!("fixtures/torch.json")).unwrap())
    }

    fn tensors(&self, lists: &Value) -> Vec<Tensor> {
        let shapes: Vec<Vec<i64>> = serde_json::from_value(self.0["shapes"].clone()).unwrap();
        let lists: Vec<Vec<f64>> = serde_json::from_value(lists.clone()).unwrap();
        let tensors = lists.iter().zip(&shapes);
        tensors
            .map(|(list, shape)| {
                Tensor::from_slice(list)
                    .to_kind(Kind::Float)
                    .reshape(shape.as_slice())
            })
            .collect()
    }

    fn steps(&self, steps: &Value) -> Vec<Vec<Tensor>> {
        steps
            .as_array()
            .unwrap()
            .iter()
            .map(|s| self.tensors(s))
            .collect()
    }

    pub fn start(&self) -> Vec<Tensor> {
        self.tensors(&self.0["start"])
    }

    /// The gradients of each step.
    pub fn gradients(&self) -> Vec<Vec<Tensor>> {
        self.steps(&self.0["grads"])
    }

    /// The weights after each step.
    pub fn optimizer(&self, name: &str) -> Vec<Vec<Tensor>> {
        self.steps(&self.0["optimizers"][name])
    }

    pub fn ema(&self) -> Vec<Vec<Tensor>> {
        self.steps(&self.0["ema"])
    }

    pub fn rates(&self, name: &str) -> Vec<f64> {
        serde_json::from_value(self.0["schedules"][name].clone()).unwrap()
    }

    /// Whether each step's gradients were finite, and the loss scale after it.
    pub fn scales(&self) -> (Vec<bool>, Vec<f64>) {
        let runs: Vec<(bool, usize, f64)> = serde_json::from_value(self.0["scaler"].clone()).unwrap();
        let each = runs
            .into_iter()
            .flat_map(|(finite, count, scale)| vec![(finite, scale); count]);
        each.unzip()
    }

    /// The gradients of the first step, clipped, and their norm before.
    pub fn clipped(&self, name: &str) -> (Option<f64>, Vec<Tensor>) {
        let clipped = &self.0[name];
        (clipped["norm"].as_f64(), self.tensors(&clipped["grads"]))
    }
}

/// Asserts equality to 1e-6 of the largest value.
#[track_caller]
pub fn near(found: &Tensor, expected: &Tensor, what: &str) {
    let difference = (found - expected).abs().max().double_value(&[]);
    let limit = 1e-6 * expected.abs().max().double_value(&[]).max(1.0);
    assert!(difference <= limit, "{what}: off by {difference}");
}

/// Tensors as a model's parameters `p0`, `p1` and so on, without tags.
pub fn parameters(tensors: &[Tensor]) -> Vec<Parameter> {
    let numbered = tensors.iter().enumerate();
    numbered
        .map(|(i, tensor)| Parameter {
            name: format!("p{i}").into(),
            aliases: Default::default(),
            tensor: TensorHandle::new(tensor.shallow_clone()),
            tags: Tags::NONE,
            depth: 0,
            extra: Default::default(),
        })
        .collect()
}

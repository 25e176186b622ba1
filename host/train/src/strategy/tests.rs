//! Two ranks in one process, each on a thread, with channels between them.

use super::*;
use crate::optimization::Optimization;
use crate::profile::Profile;
use crate::progress::{Position, Progress};
use crate::validation::merged_metrics;
use crossbeam_channel::{Receiver, Sender, unbounded};
use cvhost::config::TrainingConfig;
use cvhost_data::buffer::Buffer;
use cvhost_data::{HostBatch, HostItem};
use cvhost_plugin_api::abi::{Evaluator, Evaluator_TO, FinishArgsRef, Model, Model_TO, StepContextRef};
use cvhost_plugin_api::abi_stable::sabi_trait::TD_Opaque;
use cvhost_plugin_api::abi_stable::std_types::{ROk, RSlice, RStr};
use cvhost_plugin_api::data::{
    Batch, DType, Fields, List, Meta, Optional, Output, Parameter, Report, Tags, TensorHandle, Text,
};
use cvhost_plugin_api::error::AbiResult;
use cvhost_plugin_api::torch::named;
use cvhost_torch::network::Network;
use std::thread;
use tch::Kind;

/// One of two ranks.
struct Pair {
    rank: u32,
    to: Sender<Vec<u8>>,
    from: Receiver<Vec<u8>>,
}

impl Strategy for Pair {
    fn world(&self) -> World {
        World {
            rank: self.rank,
            size: 2,
        }
    }

    fn sum(&self, values: &mut [f64]) -> Result<()> {
        let own = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let [first, second] = self.exchange(own);
        let number = |bytes: &[u8]| f64::from_le_bytes(bytes.try_into().unwrap());
        assert_eq!(first.len(), second.len(), "ranks pass equally many values");
        let pairs = first.chunks(8).zip(second.chunks(8));
        for (value, (a, b)) in values.iter_mut().zip(pairs) {
            *value = number(a) + number(b);
        }
        Ok(())
    }

    fn exchange_gradients(&self, gradients: &mut [Tensor]) -> Result<()> {
        for gradient in gradients {
            let mut values: Vec<f64> = Vec::try_from(gradient.reshape([-1]).to_kind(Kind::Double)).unwrap();
            self.sum(&mut values)?;
            let sum = Tensor::from_slice(&values).reshape(gradient.size());
            gradient.copy_(&sum);
        }
        Ok(())
    }

    fn gather(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        Ok(self.exchange(own).into())
    }
}

impl Pair {
    fn exchange(&self, own: Vec<u8>) -> [Vec<u8>; 2] {
        self.to.send(own.clone()).unwrap();
        let other = self.from.recv().unwrap();
        match self.rank {
            0 => [own, other],
            _ => [other, own],
        }
    }
}

/// Runs `work` on two ranks. Returns their results in order.
fn on_both<T: Send>(work: impl Fn(Pair) -> T + Sync) -> [T; 2] {
    let ((to_second, from_first), (to_first, from_second)) = (unbounded(), unbounded());
    let ranks = [(0, to_second, from_second), (1, to_first, from_first)];
    thread::scope(|scope| {
        let work = &work;
        ranks
            .map(|(rank, to, from)| scope.spawn(move || work(Pair { rank, to, from })))
            .map(|thread| thread.join().unwrap())
    })
}

/// A model with the loss `weight · Σx`, divided by the normaliser Σx² or averaged.
struct Linear {
    weight: Tensor,
    normalised: bool,
}

impl Model for Linear {
    fn parameters(&self) -> AbiResult<List<Parameter>> {
        let weight = Parameter::new(
            "weight",
            TensorHandle::new(self.weight.shallow_clone()),
            Tags::NONE,
        );
        ROk(vec![weight].into())
    }

    fn initialise(&mut self, _: RSlice<'_, Text>) -> AbiResult<()> {
        ROk(())
    }

    fn normalisers(&self, batch: &Batch) -> AbiResult<List<f64>> {
        let x = batch.tensor("x").unwrap();
        let squares = (&x * &x).sum(Kind::Double).double_value(&[]);
        ROk(if self.normalised { vec![squares] } else { vec![] }.into())
    }

    fn forward(&mut self, batch: &Batch, context: StepContextRef<'_>) -> AbiResult<Output> {
        let sum = (batch.tensor("x").unwrap() * &self.weight).sum(Kind::Float);
        let loss = match context.normalisers().first() {
            Some(normaliser) => sum / *normaliser,
            None => sum,
        };
        ROk(Output {
            parts: vec![named("loss_x", loss.detach())].into(),
            loss: Optional::some(TensorHandle::new(loss)),
            ..Output::default()
        })
    }

    fn finish(&mut self, _: FinishArgsRef<'_>) -> AbiResult<List<Fields>> {
        ROk(Default::default())
    }

    fn on_event(&mut self, _: RStr<'_>) -> AbiResult<()> {
        ROk(())
    }

    fn config_json(&self) -> AbiResult<Text> {
        ROk("{}".into())
    }
}

fn batch(values: &[f32]) -> HostBatch {
    let mut data = Buffer::filled(DType::F32, values.len() as u64, 0.0).unwrap();
    data.elements_mut::<f32>().copy_from_slice(values);
    HostBatch {
        items: vec![HostItem {
            name: "x".to_owned(),
            dims: vec![values.len() as u64],
            data,
            offsets: Vec::new(),
            role: None,
        }],
        metas: vec![Meta::default(); values.len()],
        targets: Vec::new(),
        names: Vec::new(),
    }
}

/// The weight, the loss and the norm of the gradients after one step with these batches.
fn one_step(batches: &[&[f32]], normalised: bool, strategy: &impl Strategy) -> [f64; 3] {
    let weight = Tensor::from_slice(&[2.0f32]).set_requires_grad(true);
    let model = Linear {
        weight: weight.shallow_clone(),
        normalised,
    };
    let mut network = Network::new(Model_TO::from_value(model, TD_Opaque)).unwrap();
    let training = TrainingConfig::default();
    let at = Position::default();
    let (mut optimization, _) = Optimization::new(&network, &training, None, at, 1).unwrap();
    let mut window: Vec<HostBatch> = batches.iter().map(|values| batch(values)).collect();
    let mut progress = Progress::default();
    let profile = Profile::default();
    let outcome = optimization
        .step(&mut network, &mut window, &mut progress, 1, &profile, strategy)
        .unwrap();
    let crate::pending::Values::Read(values) = outcome.values else {
        panic!("the CPU reads values first");
    };
    assert_eq!(values.parts[0].1, values.loss);
    [weight.double_value(&[0]), values.loss, values.norm.unwrap()]
}

#[test]
fn a_step_of_two_ranks_is_a_step_with_the_batches_of_both() {
    let batches: [&[f32]; 2] = [&[1.0, 2.0], &[0.5, 3.0, -1.0]];
    for normalised in [true, false] {
        let alone = one_step(&batches, normalised, &Single);
        let both = on_both(|pair| one_step(&[batches[pair.rank as usize]], normalised, &pair));
        assert_eq!(both[0], both[1]);
        for (found, expected) in both[0].iter().zip(alone) {
            assert!((found - expected).abs() < 1e-6, "{both:?}, alone {alone:?}");
        }
    }
}

#[test]
fn a_value_that_is_not_finite_on_one_rank_stops_the_step_on_both() {
    let batches: [&[f32]; 2] = [&[1.0, f32::INFINITY], &[1.0]];
    let weights = on_both(|pair| one_step(&[batches[pair.rank as usize]], false, &pair));
    for [weight, loss, norm] in weights {
        assert_eq!(weight, 2.0, "the weight stays");
        assert!(!loss.is_finite() && !norm.is_finite());
    }
}

#[test]
fn what_one_rank_decides_holds_for_both() {
    let decisions = on_both(|pair| {
        let stop = pair.rank == 1;
        pair.any([stop, false, true]).unwrap()
    });
    assert_eq!(decisions, [[true, false, true]; 2]);
}

#[test]
fn the_leaders_value_or_failure_reaches_both() {
    let values = on_both(|pair| {
        let rank = pair.rank;
        pair.on_leader(|| {
            assert_eq!(rank, 0);
            Ok(vec![0.1, 1e300])
        })
        .unwrap()
    });
    assert_eq!(values, [[0.1, 1e300], [0.1, 1e300]]);
    let [first, second] = on_both(|pair| {
        let failed: Result<u8> = pair.on_leader(|| Err(Error::input("no image")));
        failed.unwrap_err().to_string()
    });
    assert_eq!(first, "no image");
    assert!(second.contains("rank 0 failed"), "{second}");
}

/// Adds up numbers; its metric is their sum.
struct Sum(u64);

impl Evaluator for Sum {
    fn update(&mut self, _: RSlice<'_, u64>, _: RSlice<'_, Fields>, _: RSlice<'_, Fields>) -> AbiResult<()> {
        ROk(())
    }

    fn state(&self) -> AbiResult<List<u8>> {
        ROk(self.0.to_le_bytes().to_vec().into())
    }

    fn merge(&mut self, state: RSlice<'_, u8>) -> AbiResult<()> {
        self.0 += u64::from_le_bytes(state.as_slice().try_into().unwrap());
        ROk(())
    }

    fn compute(&mut self) -> AbiResult<Report> {
        let mut report = Report::default();
        report.push("sum", self.0 as f64);
        ROk(report)
    }
}

fn measured(value: u64) -> Measured {
    Measured::new(Evaluator_TO::from_value(Sum(value), TD_Opaque))
}

#[test]
fn both_ranks_get_the_metrics_of_both_evaluations() {
    let metrics = on_both(|pair| {
        let own = measured(3 + 4 * u64::from(pair.rank));
        merged_metrics(Some(own), &pair).unwrap().unwrap()
    });
    for metrics in metrics {
        assert_eq!(metrics["val_sum"], 10.0);
    }
}

#[test]
fn a_validation_that_one_rank_interrupts_is_interrupted_on_both() {
    let metrics = on_both(|pair| {
        let own = (pair.rank == 0).then(|| measured(1));
        merged_metrics(own, &pair).unwrap()
    });
    assert_eq!(metrics, [None, None]);
}

#[test]
fn a_checkpoint_has_the_generators_of_both_ranks() {
    let generators = on_both(|pair| {
        let state = Tensor::from_slice(&[pair.rank as u8, 7]);
        let all = pair
            .gather_generators(vec![("rng.cpu".to_owned(), state)])
            .unwrap();
        let all = all.into_iter();
        all.map(|(name, state)| (name, Vec::<u8>::try_from(state).unwrap()))
            .collect::<Vec<_>>()
    });
    let expected = [
        ("rng.cpu".to_owned(), vec![0, 7]),
        ("rng.cpu.rank1".to_owned(), vec![1, 7]),
    ];
    assert_eq!(generators, [expected.clone(), expected]);
}

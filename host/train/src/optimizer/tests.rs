use super::*;
use crate::recorded::{Recorded, near, parameters};
use cvhost::config::{OptimizerKind, OptimizerParams};
use cvhost_plugin_api::torch::{Init, ParameterSet};
use tch::{Device, Kind};

fn rules(freeze: &[&str]) -> GroupRules {
    let freeze = freeze.iter().map(ToString::to_string).collect();
    GroupRules {
        weight_decay: 0.5,
        backbone_lr_scale: 0.0,
        freeze,
        ..GroupRules::new(&TrainingConfig::default())
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
    let typo = Optimizer::new(&set.list(|_| vec![]), &rules(&["typo.*"])).err();
    assert!(typo.unwrap().to_string().contains("`typo.*` matches no"));
    let mut optimizer = Optimizer::new(&set.list(|_| vec![]), &rules(&["stil*"])).unwrap();
    assert_eq!(optimizer.trained_parameters(), 3);
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

fn give_gradients(live: &[Tensor], gradients: &[Tensor]) {
    for (weight, gradient) in live.iter().zip(gradients) {
        (weight * gradient).sum(Kind::Float).backward();
    }
}

#[test]
fn every_optimizer_steps_like_torch() {
    let recorded = Recorded::load();
    let momentum = |momentum, nesterov| OptimizerParams {
        momentum: Some(momentum),
        nesterov: Some(nesterov),
        ..OptimizerParams::default()
    };
    let adamw = OptimizerParams {
        beta2: Some(0.98),
        epsilon: Some(1e-6),
        ..OptimizerParams::default()
    };
    let cases = [
        ("adamw", OptimizerKind::AdamW, adamw, 0.1),
        ("sgd", OptimizerKind::Sgd, momentum(0.9, false), 0.1),
        ("sgd_nesterov", OptimizerKind::Sgd, momentum(0.9, true), 0.0),
        ("sgd_plain", OptimizerKind::Sgd, momentum(0.0, false), 0.0),
        ("muon", OptimizerKind::Muon, OptimizerParams::default(), 0.1),
    ];
    for (name, kind, params, weight_decay) in cases {
        let expected = recorded.optimizer(name);
        let live: Vec<Tensor> = recorded
            .start()
            .into_iter()
            .take(expected[0].len())
            .map(|t| t.set_requires_grad(true))
            .collect();
        let rules = GroupRules::new(&TrainingConfig {
            optimizer: kind,
            optimizer_params: params,
            weight_decay,
            ..TrainingConfig::default()
        });
        let mut optimizer = Optimizer::new(&parameters(&live), &rules).unwrap();
        for (step, (gradients, expected)) in recorded.gradients().iter().zip(&expected).enumerate() {
            give_gradients(&live, gradients);
            optimizer.step(0.01).unwrap();
            optimizer.clear_gradients().unwrap();
            for (found, expected) in live.iter().zip(expected) {
                near(found, expected, &format!("{name}, step {step}"));
            }
            // A resumed run continues in the same way.
            let state = optimizer.state();
            optimizer = Optimizer::new(&parameters(&live), &rules).unwrap();
            optimizer.restore(&state).unwrap();
        }
    }
}

#[test]
fn clipping_equals_that_of_torch() {
    let recorded = Recorded::load();
    let cases = [
        ("clip_norm", Some(0.5), None),
        ("clip_value", None, Some(0.7)),
        ("clip_value_then_norm", Some(0.5), Some(0.7)),
    ];
    for (name, norm, value) in cases {
        let live: Vec<Tensor> = recorded
            .start()
            .into_iter()
            .map(|t| t.set_requires_grad(true))
            .collect();
        let rules = GroupRules::new(&TrainingConfig::default());
        let optimizer = Optimizer::new(&parameters(&live), &rules).unwrap();
        give_gradients(&live, &recorded.gradients()[0]);
        let found = optimizer.clip(Clip { norm, value }).unwrap().unwrap();
        let (_, gradients) = recorded.clipped(name);
        // The norm before any clipping is returned; torch returns that of the values it clips.
        let unclipped = recorded.clipped("clip_norm").0.unwrap();
        assert!((found.double_value(&[]) - unclipped).abs() < 1e-5);
        for (weight, gradient) in live.iter().zip(&gradients) {
            near(&weight.grad(), gradient, name);
        }
    }
}

/// An optimizer over one weight with this gradient.
fn with_gradient(gradient: &[f32]) -> (Tensor, Optimizer) {
    let weight = Tensor::zeros([gradient.len() as i64], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let parameters = parameters(std::slice::from_ref(&weight));
    let optimizer = Optimizer::new(&parameters, &GroupRules::new(&TrainingConfig::default())).unwrap();
    give_gradients(std::slice::from_ref(&weight), &[Tensor::from_slice(gradient)]);
    (weight, optimizer)
}

fn gradient(weight: &Tensor) -> Vec<f32> {
    Vec::try_from(&weight.grad()).unwrap()
}

#[test]
fn overflows_are_found_when_gradients_are_unscaled() {
    for (scaled, overflow) in [
        ([1024.0, -512.0], 0.0),
        ([f32::INFINITY, 512.0], 1.0),
        ([f32::NAN, 512.0], 1.0),
    ] {
        let (weight, optimizer) = with_gradient(&scaled);
        let found = optimizer.unscale(1024.0).unwrap().unwrap();
        assert_eq!(found.double_value(&[]), overflow, "{scaled:?}");
        if overflow == 0.0 {
            assert_eq!(gradient(&weight), [1.0, -0.5]);
        }
    }
}

#[test]
fn clipping_values_does_not_hide_an_infinity() {
    for norm in [None, Some(1.0)] {
        let (weight, optimizer) = with_gradient(&[f32::INFINITY, 0.5]);
        let clip = Clip {
            value: Some(0.7),
            norm,
        };
        let found = optimizer.clip(clip).unwrap().unwrap();
        assert_eq!(found.double_value(&[]), f64::INFINITY);
        assert_eq!(gradient(&weight), [0.7, 0.5]);
    }
}

#[test]
fn layers_nearer_to_the_input_learn_more_slowly() {
    let set = ParameterSet::new();
    let root = set.root();
    let layers: Vec<Tensor> = (0..3)
        .map(|depth| {
            root.at_depth(depth)
                .parameter(&format!("l{depth}"), &[1], Init::Constant(0.0))
        })
        .collect();
    set.initialise(&["l0", "l1", "l2"]).unwrap();
    let rules = GroupRules {
        layer_decay: 0.5,
        ..rules(&[])
    };
    let mut optimizer = Optimizer::new(&set.list(|_| vec![]), &rules).unwrap();
    layers
        .iter()
        .map(|l| l.sum(Kind::Float))
        .for_each(|loss| loss.backward());
    optimizer.step(0.1).unwrap();
    let moved: Vec<f64> = layers.iter().map(|l| -l.double_value(&[0])).collect();
    for (moved, expected) in moved.iter().zip([0.025, 0.05, 0.1]) {
        assert!((moved - expected).abs() < 1e-6, "{moved}");
    }
}

#[test]
fn muon_updates_only_matrices_between_hidden_states() {
    let set = ParameterSet::new();
    let names = ["embedding", "norm", "layer", "class_head", "box_head"];
    let root = set.root();
    for (name, scope, shape) in [
        (names[0], root.at_depth(0), vec![4, 3]),
        (names[1], root.at_depth(1), vec![3]),
        (names[2], root.at_depth(1), vec![3, 3]),
        (names[3], root.at_depth(2).tagged(Tags::CLASS_HEAD), vec![2, 3]),
        (names[4], root.at_depth(2), vec![4, 3]),
    ] {
        let _ = scope.parameter(name, &shape, Init::Constant(1.0));
    }
    set.initialise(&names).unwrap();
    let rules = GroupRules {
        optimizer: OptimizerKind::Muon,
        ..rules(&[])
    };
    let optimizer = Optimizer::new(&set.list(|_| vec![]), &rules).unwrap();
    let stepped: Vec<String> = optimizer.state().into_iter().map(|(name, _)| name).collect();
    let by_muon = |name: &&str| stepped.contains(&format!("optimizer.{name}.momentum"));
    assert_eq!(
        names.iter().filter(|n| by_muon(n)).collect::<Vec<_>>(),
        [&"layer"]
    );
    assert_eq!(stepped.len(), 1 + 3 * 4, "{stepped:?}");
}

#[test]
fn frozen_parameters_are_trained_from_their_epoch_on_and_resume() {
    let make = || {
        let set = ParameterSet::new();
        let root = set.root();
        let head = root.parameter("head", &[1], Init::Constant(1.0));
        let body = root.parameter("body", &[1], Init::Constant(1.0));
        set.initialise(&["head", "body"]).unwrap();
        let rules = GroupRules {
            unfreeze_at_epoch: Some(2),
            ..rules(&["body"])
        };
        (head, body, Optimizer::new(&set.list(|_| vec![]), &rules).unwrap())
    };
    let (_head, body, mut optimizer) = make();
    optimizer.begin_epoch(1).unwrap();
    assert!(!body.requires_grad());
    let before = optimizer.state();
    optimizer.begin_epoch(2).unwrap();
    assert!(body.requires_grad());
    assert_eq!(optimizer.trained_parameters(), 2);
    let (_, body, mut resumed) = make();
    resumed.begin_epoch(2).unwrap();
    resumed.restore(&before).unwrap();
    assert!(body.requires_grad());
    resumed.restore(&optimizer.state()).unwrap();
}

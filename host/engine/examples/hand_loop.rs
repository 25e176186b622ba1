//! A minimal training loop written directly on libtorch: preloaded batches, forward, backward,
//! gradient clipping and AdamW, and nothing else. It takes the command line of `cvhost run` and
//! prints the seconds of each step as a line of JSON. `cargo xtask bench host-cost` compares the
//! two.

use cvhost::cli::{Cli, Command, RunArgs, Split};
use cvhost::config::Draft;
use cvhost::error::{Error, Result};
use cvhost_engine::session::Session;
use cvhost_engine::splits::Splits;
use cvhost_plugin_api::data::{Batch, Parameter, Tags};
use cvhost_torch::batch::to_batch;
use cvhost_torch::context::{self, Moment};
use cvhost_torch::network::Network;
use cvhost_torch::shim::{self, AdamW, AdamWSlot};
use serde_json::json;
use std::path::Path;
use std::time::Instant;
use tch::{Kind, Tensor};

fn main() {
    shim::open_cuda();
    let cli = Cli::from_args();
    let code = match &cli.command {
        Command::Run(args) => match measure(args, &cli) {
            Ok(seconds) => {
                println!("{}", json!({"step_s": seconds}));
                0
            }
            Err(error) => cvhost::output::error(&error, false),
        },
        _ => 2,
    };
    cvhost::machine::exit_now(code);
}

fn measure(args: &RunArgs, cli: &Cli) -> Result<Vec<f64>> {
    let session = Session::open(
        &cli.global,
        Draft::read(args.config.as_deref().unwrap_or(Path::new("")), &args.overrides)?,
        args.plugin.as_deref(),
        &args.plugin_file,
    )?;
    let training = &session.loaded.config.training;
    tch::manual_seed(training.seed as i64);
    let folder = session.starting_folder()?;
    let classes = folder.label_names()?.unwrap_or_default();
    let data = Splits::new(&session, &classes).open(Split::Train)?;
    let mut model = session.model(&folder, &data.spec, false)?;
    let loader = session.train_loader(data.source, &model.input, Vec::new())?;
    let batches = loader
        .epoch(0, 0)
        .take(training.max_steps.unwrap_or(1) as usize)
        .map(|batch| to_batch(&mut batch?, session.device))
        .collect::<Result<Vec<Batch>>>()?;
    let mut slots = slots(model.network.parameters());
    let with = AdamW {
        rate: training.learning_rate,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        decay: training.weight_decay,
    };
    batches
        .iter()
        .map(|batch| {
            let started = Instant::now();
            let loss = step(
                &mut model.network,
                batch,
                &mut slots,
                with,
                training.gradient_clip,
            )?;
            if !loss.is_finite() {
                return Err(Error::failed("the loss is not finite"));
            }
            Ok(started.elapsed().as_secs_f64())
        })
        .collect()
}

fn slots(parameters: &[Parameter]) -> Vec<AdamWSlot> {
    let trained = parameters
        .iter()
        .filter(|p| !p.tags.has(Tags::BUFFER))
        .map(|p| p.tensor.tensor());
    trained
        .filter(Tensor::requires_grad)
        .map(|parameter| {
            let zeros = || parameter.zeros_like().set_requires_grad(false);
            AdamWSlot {
                average: zeros(),
                square: zeros(),
                step: Tensor::zeros([], (Kind::Float, parameter.device())),
                gradient: Tensor::new(),
                parameter,
            }
        })
        .collect()
}

fn step(
    network: &mut Network,
    batch: &Batch,
    slots: &mut [AdamWSlot],
    with: AdamW,
    clip: Option<f64>,
) -> Result<f64> {
    let context = context::training(Moment::default(), Vec::new());
    let forward = network.forward(batch, &context)?;
    let loss = forward.loss.ok_or_else(|| Error::failed("no loss"))?;
    loss.backward();
    let mut gradients: Vec<Tensor> = slots.iter().map(|s| s.parameter.grad()).collect();
    let _norm = shim::clip_gradients(&mut gradients, clip)?;
    for (slot, gradient) in slots.iter_mut().zip(gradients) {
        slot.gradient = gradient;
    }
    shim::fused_adamw(slots, with)?;
    for slot in slots.iter_mut() {
        slot.gradient = Tensor::new();
    }
    shim::clear_gradients(slots.iter_mut().map(|s| &mut s.parameter))?;
    Ok(loss.double_value(&[]))
}

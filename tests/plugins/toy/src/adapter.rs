//! Adapter `columns`: averages an image into a few columns and classifies these with one linear
//! layer.

use cvhost_plugin_api::data::{
    Array, ArrayMut, Batch, CollateRule, DType, Fields, LabelSpec, Mode, Output, Parameter, Prepared, Role,
    Shape, StepContext, TensorHandle,
};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::sdk::{Adapter, AdapterArgs, FinishArgs, Input, Model, PrepareArgs, ShapeArgs};
use cvhost_plugin_api::serde_json::{Value, json};
use cvhost_plugin_api::torch::tch::{Kind, Reduction, Tensor, no_grad};
use cvhost_plugin_api::torch::{Init, ParameterSet, named};

pub struct Columns;

impl Adapter for Columns {
    fn input(&self, _args: &AdapterArgs<'_>) -> Result<Box<dyn Input>> {
        Ok(Box::new(Pixels))
    }

    fn model(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Model>> {
        let spec = args.spec;
        let grid = args.config["model"]["grid"]
            .as_i64()
            .or(args.checkpoint.config["grid"].as_i64())
            .unwrap_or(4);
        let parameters = ParameterSet::new();
        let classes = spec.names.len() as i64;
        let scope = parameters.root().sub("classifier");
        let weight = scope.parameter("weight", &[classes, grid], Init::FanInUniform);
        let bias = scope.no_decay("bias", &[classes], Init::Constant(0.0));
        let steps = scope.counter("steps");
        Ok(Box::new(Network {
            parameters,
            weight,
            bias,
            steps,
            grid,
            fault: args.config["model"]["fault"].as_str().map(str::to_owned),
            fault_at_step: args.config["model"]["fault_at_step"].as_u64(),
            spec: spec.clone(),
        }))
    }
}

struct Pixels;

impl Input for Pixels {
    fn shape(&self, args: &ShapeArgs) -> Result<Shape> {
        let dims = [1, u64::from(args.height), u64::from(args.width)];
        Ok(Shape::new("brightness", DType::F32, &dims))
    }

    fn prepare(&self, args: &PrepareArgs<'_>, mut out: ArrayMut<'_>) -> Result<Prepared> {
        let sample = args.sample;
        let image = sample
            .images
            .first()
            .ok_or_else(|| PluginError::data("the sample has no image"))?;
        for y in 0..image.height {
            let row = out.row_mut::<f32>(&[0, u64::from(y)])?;
            for (x, value) in row.iter_mut().enumerate() {
                let rgb = image.pixel(x as u32, y).unwrap_or_default();
                *value = rgb.iter().map(|&c| f32::from(c)).sum::<f32>() / 765.0;
            }
        }
        let mut prepared = Prepared::default();
        if let Some(side) = sample.fields.get("side") {
            prepared.fields = Fields::new().with("side", Role::COLUMN, side.clone());
        }
        prepared.meta.index = sample.index;
        Ok(prepared)
    }

    fn collate(&self) -> Vec<CollateRule> {
        vec![CollateRule::pad("brightness", ""), CollateRule::stack("side")]
    }

    fn config_json(&self) -> Result<Value> {
        Ok(json!({}))
    }
}

struct Network {
    parameters: ParameterSet,
    weight: Tensor,
    bias: Tensor,
    /// Number of forward passes in training: a buffer, like running statistics.
    steps: Tensor,
    grid: i64,
    /// The fault to inject in training step `fault_at_step`, counted from 0, or in the validation
    /// after that many steps.
    fault: Option<String>,
    fault_at_step: Option<u64>,
    spec: LabelSpec,
}

impl Model for Network {
    fn parameters(&self) -> Result<Vec<Parameter>> {
        Ok(self.parameters.list(|_| Vec::new()))
    }

    fn initialise(&mut self, names: &[&str]) -> Result<()> {
        self.parameters.initialise(names)
    }

    fn forward(&mut self, batch: &Batch, context: &StepContext<'_>) -> Result<Output> {
        let columns = batch
            .tensor("brightness")?
            .f_adaptive_avg_pool2d([1, self.grid])?
            .flatten(1, -1);
        let logits = columns.f_linear(&self.weight, Some(&self.bias))?;
        if context.mode == Mode::TRAIN {
            let _ = no_grad(|| self.steps.f_add_scalar_(1))?;
        }
        let mut output = Output::default();
        if context.mode != Mode::PREDICT {
            let sides = batch.tensor("side")?.flatten(0, -1);
            let mut loss = logits.f_cross_entropy_loss(&sides, None::<Tensor>, Reduction::Mean, -100, 0.0)?;
            if self.fault_at_step == Some(context.step) {
                loss = match (context.mode, self.fault.as_deref()) {
                    // The square root of 0 is 0, but its derivative is infinite.
                    (Mode::TRAIN, Some("gradients")) => {
                        loss + (self.weight.f_sum(Kind::Float)? * 0.0).f_sqrt()?
                    }
                    // More memory than any machine has.
                    (Mode::TRAIN, Some("memory")) => Tensor::f_ones([1 << 50], (Kind::Float, loss.device()))?,
                    (Mode::TRAIN, None | Some("loss")) => loss * f64::NAN,
                    (Mode::EVAL, Some("interrupt")) => {
                        interrupt_this_process()?;
                        loss
                    }
                    _ => loss,
                };
            }
            output.loss = Some(TensorHandle::new(loss)).into();
        }
        output.outputs.push(named("logits", logits.detach()));
        Ok(output)
    }

    fn finish(&mut self, args: &FinishArgs<'_>) -> Result<Vec<Fields>> {
        let logits = args
            .outputs
            .first()
            .ok_or_else(|| PluginError::failed("no logits"))?
            .tensor
            .tensor();
        let (score, side) = logits.softmax(-1, Kind::Float).max_dim(-1, false);
        let one = |i: i64| {
            Fields::new()
                .with("side", Role::COLUMN, Array::vector(&[side.int64_value(&[i])]))
                .with(
                    "score",
                    Role::COLUMN,
                    Array::vector(&[score.double_value(&[i]) as f32]),
                )
        };
        Ok((0..args.metas.len() as i64).map(one).collect())
    }

    fn config_json(&self) -> Result<Value> {
        let labels: Vec<(String, Value)> = self
            .spec
            .names
            .iter()
            .enumerate()
            .map(|(i, n)| (i.to_string(), json!(n.as_str())))
            .collect();
        Ok(json!({
            "model_type": "toy-columns",
            "grid": self.grid,
            "id2label": labels.into_iter().collect::<cvhost_plugin_api::serde_json::Map<_, _>>(),
        }))
    }
}

/// Sends Ctrl-C to this process and gives the host time to notice.
fn interrupt_this_process() -> Result<()> {
    let process = std::process::id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-INT", &process])
        .status();
    sent.map_err(|e| PluginError::failed(format!("kill: {e}")))?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    Ok(())
}

//! Adapter `walk-spots`: classifies colours as a person's, pixel by pixel; connected components
//! become boxes.

use crate::shared::components::{bounds, components};
use crate::shared::layers::{Conv, image, relu_stack, write_image};
use crate::shared::options::{COLOUR_SCALE, output, refuse, threshold};
use cvhost_plugin_api::data::{
    Array, ArrayMut, Batch, CollateRule, DType, Fields, LabelSpec, Meta, Mode, Output, Parameter, Prepared,
    Role, Shape, StepContext, TensorHandle,
};
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::sdk::{Adapter, AdapterArgs, FinishArgs, Input, Model, PrepareArgs, ShapeArgs};
use cvhost_plugin_api::serde_json::{Map, Value, json};
use cvhost_plugin_api::torch::tch::{Kind, Reduction, Tensor};
use cvhost_plugin_api::torch::{ParameterSet, named};

/// Minimum number of pixels in a box.
const MIN_AREA: usize = 40;
/// Hidden units of the network, which sees one colour at a time.
const HIDDEN: i64 = 8;

pub struct Colours;

impl Adapter for Colours {
    fn input(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Input>> {
        refuse(
            args.config,
            &["data.image_size"],
            "this network processes every image at its own size",
        )?;
        refuse(
            args.config,
            &COLOUR_SCALE,
            "this network has a fixed colour scale",
        )?;
        Ok(Box::new(Pixels))
    }

    fn model(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Model>> {
        let spec = args.spec;
        let parameters = ParameterSet::new();
        let root = parameters.root();
        let layers = vec![Conv::new(&root.sub("layer1"), 3, HIDDEN, 1)];
        let head = Conv::new(&root.sub("head"), HIDDEN, 1, 1);
        Ok(Box::new(Network {
            parameters,
            layers,
            head,
            spec: spec.clone(),
        }))
    }
}

struct Pixels;

impl Input for Pixels {
    fn shape(&self, args: &ShapeArgs) -> Result<Shape> {
        Ok(Shape::new(
            "pixel_values",
            DType::F32,
            &[3, u64::from(args.height), u64::from(args.width)],
        ))
    }

    /// `inside` `[H, W]` f32: 1 inside a box. Boxes contain much background, but most background is
    /// outside boxes, so its colours score below one half.
    fn prepare(&self, args: &PrepareArgs<'_>, mut out: ArrayMut<'_>) -> Result<Prepared> {
        let image = image(args.sample)?;
        write_image(&mut out, image)?;
        let mut prepared = Prepared::default();
        if let Some(boxes) = args.sample.fields.get("boxes") {
            let boxes = boxes.to_rows::<4>()?;
            let within = |x: u32, y: u32| {
                let (x, y) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
                boxes
                    .iter()
                    .any(|[x1, y1, x2, y2]| (*x1..*x2).contains(&x) && (*y1..*y2).contains(&y))
            };
            let rows = (0..image.height).flat_map(|y| (0..image.width).map(move |x| (x, y)));
            let inside: Vec<f32> = rows.map(|(x, y)| f32::from(u8::from(within(x, y)))).collect();
            let inside = Array::new(&[u64::from(image.height), u64::from(image.width)], &inside)?;
            prepared.fields = Fields::new().with("inside", Role::DENSE_MAP, inside);
        }
        prepared.meta = Meta {
            width: image.width,
            height: image.height,
            input_width: image.width,
            input_height: image.height,
            ..Meta::default()
        };
        Ok(prepared)
    }

    fn collate(&self) -> Vec<CollateRule> {
        vec![
            CollateRule::pad("pixel_values", "pixel_mask"),
            CollateRule::pad("inside", ""),
        ]
    }

    fn config_json(&self) -> Result<Value> {
        Ok(json!({"image_processor_type": "WalkSpots"}))
    }
}

struct Network {
    parameters: ParameterSet,
    layers: Vec<Conv>,
    head: Conv,
    spec: LabelSpec,
}

impl Model for Network {
    fn parameters(&self) -> Result<Vec<Parameter>> {
        Ok(self.parameters.list(|_| Vec::new()))
    }

    fn initialise(&mut self, names: &[&str]) -> Result<()> {
        self.parameters.initialise(names)
    }

    /// The number of pixels, without padding.
    fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        Ok(vec![
            batch.tensor("pixel_mask")?.f_sum(Kind::Int64)?.double_value(&[]),
        ])
    }

    fn forward(&mut self, batch: &Batch, context: &StepContext<'_>) -> Result<Output> {
        let features = relu_stack(&self.layers, &batch.tensor("pixel_values")?)?;
        let logits = self.head.forward(&features)?.f_squeeze_dim(1)?;
        let mut output = Output::default();
        if context.mode != Mode::PREDICT {
            let mask = batch.tensor("pixel_mask")?.f_to_kind(Kind::Float)?;
            let inside = batch.tensor("inside")?;
            let sum =
                logits.f_binary_cross_entropy_with_logits(&inside, Some(&mask), None, Reduction::Sum)?;
            let pixels = context.normalisers.first().copied().unwrap_or(1.0).max(1.0);
            output.loss = Some(TensorHandle::new(sum.f_div_scalar(pixels)?)).into();
        }
        output.outputs.push(named("logits", logits.detach()));
        Ok(output)
    }

    fn finish(&mut self, args: &FinishArgs<'_>) -> Result<Vec<Fields>> {
        let options = &args.options;
        let probabilities = output(args.outputs, "logits")?.f_sigmoid()?;
        args.metas
            .iter()
            .enumerate()
            .map(|(i, meta)| {
                let (height, width) = (i64::from(meta.input_height), i64::from(meta.input_width));
                let own: Tensor = probabilities
                    .f_get(i as i64)?
                    .f_narrow(0, 0, height)?
                    .f_narrow(1, 0, width)?;
                let own = Vec::<f32>::try_from(own.f_flatten(0, -1)?)?;
                let person: Vec<i64> = own.iter().map(|p| i64::from(*p > 0.5)).collect();
                let (mut boxes, mut scores) = (Vec::new(), Vec::new());
                for part in components(&person, width as usize) {
                    let sum: f32 = part.pixels.iter().filter_map(|p| own.get(*p)).sum();
                    let score = sum / part.pixels.len() as f32;
                    let large = part.value == 1 && part.pixels.len() >= MIN_AREA;
                    if let Some(b) = bounds(part.pixels, width as usize)
                        .filter(|_| large && f64::from(score) >= threshold(options))
                    {
                        boxes.push(b.map(|v| v as f32));
                        scores.push(score);
                    }
                }
                let fields = Fields::new().with("boxes", Role::BOXES, Array::rows(&boxes));
                Ok(fields.with("scores", Role::COLUMN, Array::vector(&scores)))
            })
            .collect()
    }

    fn config_json(&self) -> Result<Value> {
        let names = self.spec.names.iter().enumerate();
        let labels: Map<String, Value> = names.map(|(i, n)| (i.to_string(), json!(n.as_str()))).collect();
        Ok(json!({"model_type": "walk-spots", "id2label": labels}))
    }
}

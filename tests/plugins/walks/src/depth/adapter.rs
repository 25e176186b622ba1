//! Adapter `walk-depth`: a few convolutions predict the logarithm of each pixel's depth, on inputs
//! of one size.

use super::depth_of;
use crate::shared::geometry::colour_at;
use crate::shared::layers::{Conv, image, relu_stack, write_colours};
use crate::shared::options::{COLOUR_SCALE, output, refuse};
use cvhost_plugin_api::data::{
    Array, ArrayMut, Batch, CollateRule, DType, Fields, Meta, Mode, Output, Parameter, Prepared, Role, Shape,
    StepContext, TensorHandle,
};
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::sdk::{Adapter, AdapterArgs, FinishArgs, Input, Model, PrepareArgs, ShapeArgs};
use cvhost_plugin_api::serde_json::{Value, json};
use cvhost_plugin_api::torch::tch::{Kind, Tensor};
use cvhost_plugin_api::torch::{ParameterSet, named};

/// Default height and width of the input.
const SIZE: [u64; 2] = [36, 48];

pub struct LogDepth;

impl Adapter for LogDepth {
    fn input(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Input>> {
        refuse(
            args.config,
            &COLOUR_SCALE,
            "this network has a fixed colour scale",
        )?;
        let [height, width] = size(&args.config["data"]["image_size"])
            .or_else(|| size(&args.checkpoint.preprocessor["size"]))
            .unwrap_or(SIZE);
        Ok(Box::new(Resized { height, width }))
    }

    fn model(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Model>> {
        let channels = args.checkpoint.config["channels"].as_i64().unwrap_or(16);
        let parameters = ParameterSet::new();
        let root = parameters.root();
        let layers = vec![
            // In addition to colours, the input has each pixel's vertical position, since the floor
            // is nearer further down.
            Conv::new(&root.sub("layer1"), 4, channels, 3),
            Conv::new(&root.sub("layer2"), channels, channels, 3).spread(2),
        ];
        let head = Conv::new(&root.sub("head"), channels, 1, 1);
        Ok(Box::new(Network {
            parameters,
            layers,
            head,
            channels,
        }))
    }
}

/// `[height, width]` or one number.
fn size(value: &Value) -> Option<[u64; 2]> {
    value
        .as_u64()
        .map(|side| [side, side])
        .or_else(|| Some([value[0].as_u64()?, value[1].as_u64()?]))
}

struct Resized {
    height: u64,
    width: u64,
}

impl Input for Resized {
    fn shape(&self, _args: &ShapeArgs) -> Result<Shape> {
        Ok(Shape::new(
            "pixel_values",
            DType::F32,
            &[3, self.height, self.width],
        ))
    }

    /// `depth` `[H, W]` f32 in the input's size, sampled from the nearest pixel, since averaging
    /// with a pixel that wasn't measured would be wrong.
    fn prepare(&self, args: &PrepareArgs<'_>, mut out: ArrayMut<'_>) -> Result<Prepared> {
        let sample = args.sample;
        let image = image(sample)?;
        let (scale_x, scale_y) = (
            f64::from(image.width) / self.width as f64,
            f64::from(image.height) / self.height as f64,
        );
        let place = |x: u64, y: u64| [(x as f64 + 0.5) * scale_x, (y as f64 + 0.5) * scale_y];
        write_colours(&mut out, |x, y| {
            colour_at(image, place(u64::from(x), u64::from(y)))
        })?;
        let mut prepared = Prepared::default();
        if sample.fields.get("depth").is_some() {
            let (depths, width, _) = depth_of(&sample.fields)?;
            let mut resized = Vec::with_capacity((self.width * self.height) as usize);
            for y in 0..self.height {
                for x in 0..self.width {
                    let [x, y] = place(x, y).map(|at| at as usize);
                    resized.push(depths.get(y * width as usize + x).copied().unwrap_or(0.0));
                }
            }
            let resized = Array::new(&[self.height, self.width], &resized)?;
            prepared.fields = Fields::new().with("depth", Role::DENSE_MAP, resized);
        }
        prepared.meta = Meta {
            width: image.width,
            height: image.height,
            input_width: self.width as u32,
            input_height: self.height as u32,
            ..Meta::default()
        };
        Ok(prepared)
    }

    fn collate(&self) -> Vec<CollateRule> {
        vec![CollateRule::stack("pixel_values"), CollateRule::stack("depth")]
    }

    fn config_json(&self) -> Result<Value> {
        Ok(json!({"image_processor_type": "WalkDepth", "size": [self.height, self.width]}))
    }
}

struct Network {
    parameters: ParameterSet,
    layers: Vec<Conv>,
    head: Conv,
    channels: i64,
}

impl Model for Network {
    fn parameters(&self) -> Result<Vec<Parameter>> {
        Ok(self.parameters.list(|_| Vec::new()))
    }

    fn initialise(&mut self, names: &[&str]) -> Result<()> {
        self.parameters.initialise(names)
    }

    /// The number of measured pixels.
    fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        if !batch.has("depth") {
            return Ok(Vec::new());
        }
        let measured = batch.tensor("depth")?.f_gt(0.0)?.f_sum(Kind::Int64)?;
        Ok(vec![measured.double_value(&[])])
    }

    /// The loss is the mean of |log p - log t| over the measured pixels.
    fn forward(&mut self, batch: &Batch, context: &StepContext<'_>) -> Result<Output> {
        let pixels = batch.tensor("pixel_values")?;
        let &[count, _, height, width] = pixels.size().as_slice() else {
            return Err(cvhost_plugin_api::PluginError::failed(
                "`pixel_values` does not have the shape [N, 3, H, W]",
            ));
        };
        let down = Tensor::f_linspace(-1.0, 1.0, height, (Kind::Float, pixels.device()))?;
        let down = down
            .f_view([1, 1, height, 1])?
            .f_expand([count, 1, height, width], false)?;
        let features = relu_stack(&self.layers, &Tensor::f_cat(&[pixels, down], 1)?)?;
        let log_depth = self.head.forward(&features)?.f_squeeze_dim(1)?;
        let mut output = Output::default();
        if context.mode != Mode::PREDICT {
            let depth = batch.tensor("depth")?;
            let measured = depth.f_gt(0.0)?;
            // Pixels that weren't measured get the logarithm of 1 and are then masked out.
            let wanted = depth.f_where_self(&measured, &depth.f_ones_like()?)?.f_log()?;
            let errors = log_depth
                .f_sub(&wanted)?
                .f_abs()?
                .f_mul(&measured.f_to_kind(Kind::Float)?)?;
            let count = context.normalisers.first().copied().unwrap_or(1.0).max(1.0);
            output.loss = Some(TensorHandle::new(errors.f_sum(Kind::Float)?.f_div_scalar(count)?)).into();
        }
        output.outputs.push(named("log_depth", log_depth.detach()));
        Ok(output)
    }

    /// Depths at the image's own size.
    fn finish(&mut self, args: &FinishArgs<'_>) -> Result<Vec<Fields>> {
        let log_depth = output(args.outputs, "log_depth")?;
        let mut all = Vec::with_capacity(args.metas.len());
        for (i, meta) in args.metas.iter().enumerate() {
            let own = log_depth.f_narrow(0, i as i64, 1)?.f_unsqueeze(1)?;
            let size = [i64::from(meta.height), i64::from(meta.width)];
            let depth = own.f_upsample_bilinear2d(size, false, None, None)?.f_exp()?;
            let values = Vec::<f32>::try_from(depth.f_flatten(0, -1)?)?;
            let depth = Array::new(&[u64::from(meta.height), u64::from(meta.width)], &values)?;
            all.push(Fields::new().with("depth", Role::DENSE_MAP, depth));
        }
        Ok(all)
    }

    fn config_json(&self) -> Result<Value> {
        Ok(json!({"model_type": "walk-depth", "channels": self.channels}))
    }
}

//! Adapter `walk-text`: a few convolutions predict a character or a blank at each time step along
//! the line, trained with the loss of Graves et al. 2006, "Connectionist Temporal Classification".

use super::charset;
use crate::shared::geometry::colour_at;
use crate::shared::layers::{Conv, image, relu_stack, write_colours};
use crate::shared::options::{COLOUR_SCALE, output, refuse};
use cvhost_plugin_api::data::{
    Array, ArrayMut, Batch, CollateRule, DType, Fields, Meta, Mode, Output, Parameter, Prepared, Role, Shape,
    StepContext, Tags, TensorHandle,
};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::sdk::{Adapter, AdapterArgs, FinishArgs, Input, Model, PrepareArgs, ShapeArgs};
use cvhost_plugin_api::serde_json::{Value, json};
use cvhost_plugin_api::torch::tch::{Kind, Reduction, Tensor};
use cvhost_plugin_api::torch::{ParameterSet, named};

/// The input's height in pixels; its width follows the image's shape.
const HEIGHT: u64 = 16;
/// Minimum width, so that there is at least one time step.
const MIN_WIDTH: u64 = 8;
/// Pixels along the line per time step.
const STEP: u64 = 2;
/// The class for "no character here".
const BLANK: i64 = 0;

pub struct Ctc;

impl Adapter for Ctc {
    fn input(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Input>> {
        refuse(
            args.config,
            &["data.image_size"],
            "every input is 16 pixels high, and its width follows the image's shape",
        )?;
        refuse(
            args.config,
            &COLOUR_SCALE,
            "this network has a fixed colour scale",
        )?;
        Ok(Box::new(Line {
            charset: charset(args.spec)?,
        }))
    }

    fn model(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Model>> {
        let charset = charset(args.spec)?;
        let channels = args.checkpoint.config["channels"].as_i64().unwrap_or(32);
        let parameters = ParameterSet::new();
        let root = parameters.root();
        let layers = vec![
            Conv::new(&root.sub("layer1"), 3, channels, 3).every([2, STEP as i64]),
            Conv::new(&root.sub("layer2"), channels, channels, 3).every([2, 1]),
            Conv::new(&root.sub("layer3"), channels, channels, 3).every([2, 1]),
        ];
        // The two remaining rows become channels.
        let mix = Conv::new(&root.sub("mix"), 2 * channels, 2 * channels, 3);
        let classes = charset.len() as i64 + 1;
        let head = Conv::new(
            &root.sub("head").tagged(Tags::CLASS_HEAD),
            2 * channels,
            classes,
            1,
        );
        Ok(Box::new(Network {
            parameters,
            layers,
            mix,
            head,
            channels,
            charset,
        }))
    }
}

struct Line {
    charset: Vec<char>,
}

impl Input for Line {
    fn shape(&self, args: &ShapeArgs) -> Result<Shape> {
        let wide = (u64::from(args.width) * HEIGHT).div_ceil(u64::from(args.height.max(1)));
        Ok(Shape::new(
            "pixel_values",
            DType::F32,
            &[3, HEIGHT, wide.max(MIN_WIDTH)],
        ))
    }

    /// `token_ids` `[L]` i64: each character's index in the charset, starting at 1.
    fn prepare(&self, args: &PrepareArgs<'_>, mut out: ArrayMut<'_>) -> Result<Prepared> {
        let sample = args.sample;
        let image = image(sample)?;
        let width = out.dims().last().copied().unwrap_or(0);
        let (scale_x, scale_y) = (
            f64::from(image.width) / width as f64,
            f64::from(image.height) / HEIGHT as f64,
        );
        let place = |x: u32, y: u32| [(f64::from(x) + 0.5) * scale_x, (f64::from(y) + 0.5) * scale_y];
        write_colours(&mut out, |x, y| colour_at(image, place(x, y)))?;
        let mut prepared = Prepared::default();
        if let Some(text) = sample.fields.get("text") {
            let text = text.as_text()?;
            let mut tokens = Vec::new();
            for character in text.chars() {
                let place = self.charset.iter().position(|c| *c == character).ok_or_else(|| {
                    let all: String = self.charset.iter().collect();
                    PluginError::data(format!(
                        "`{character}` in the text `{text}` is not one of the characters `{all}`"
                    ))
                    .with_help("add it to the charset, or remove the record")
                })?;
                tokens.push(place as i64 + 1);
            }
            prepared.fields = Fields::new().with("token_ids", Role::OPAQUE, Array::vector(&tokens));
        }
        prepared.meta = Meta {
            width: image.width,
            height: image.height,
            input_width: width as u32,
            input_height: HEIGHT as u32,
            ..Meta::default()
        };
        Ok(prepared)
    }

    fn collate(&self) -> Vec<CollateRule> {
        vec![
            CollateRule::pad("pixel_values", ""),
            CollateRule::ragged("token_ids"),
        ]
    }

    fn config_json(&self) -> Result<Value> {
        Ok(json!({"image_processor_type": "WalkText", "height": HEIGHT}))
    }
}

struct Network {
    parameters: ParameterSet,
    layers: Vec<Conv>,
    mix: Conv,
    head: Conv,
    channels: i64,
    charset: Vec<char>,
}

/// Number of time steps of the network's output that are on the image, not on padding.
fn time_steps(meta: &Meta) -> i64 {
    u64::from(meta.input_width).div_ceil(STEP) as i64
}

impl Model for Network {
    fn parameters(&self) -> Result<Vec<Parameter>> {
        Ok(self.parameters.list(|_| Vec::new()))
    }

    fn initialise(&mut self, names: &[&str]) -> Result<()> {
        self.parameters.initialise(names)
    }

    /// The number of characters.
    fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        if !batch.has("token_ids") {
            return Ok(Vec::new());
        }
        Ok(vec![batch.tensor("token_ids")?.numel() as f64])
    }

    fn forward(&mut self, batch: &Batch, context: &StepContext<'_>) -> Result<Output> {
        let rows = relu_stack(&self.layers, &batch.tensor("pixel_values")?)?;
        let line = rows.f_flatten(1, 2)?.f_unsqueeze(2)?;
        let mixed = self.mix.forward(&line)?.f_relu()?;
        // [N, classes, 1, T] to [T, N, classes], as the loss expects.
        let logits = self
            .head
            .forward(&mixed)?
            .f_squeeze_dim(2)?
            .f_permute([2, 0, 1])?;
        let log_probabilities = logits.f_log_softmax(-1, Kind::Float)?;
        let mut output = Output::default();
        if context.mode != Mode::PREDICT {
            let (tokens, counts) = batch.ragged("token_ids")?;
            let lengths: Vec<i64> = batch.metas.iter().map(time_steps).collect();
            // A text that needs more time steps than its line has would make the loss infinite.
            let (log, zero_infinity) = (&log_probabilities, true);
            let sum = Tensor::f_ctc_loss(
                log,
                &tokens,
                lengths,
                counts,
                BLANK,
                Reduction::Sum,
                zero_infinity,
            )?;
            let characters = context.normalisers.first().copied().unwrap_or(1.0).max(1.0);
            output.loss = Some(TensorHandle::new(sum.f_div_scalar(characters)?)).into();
        }
        output
            .outputs
            .push(named("log_probabilities", log_probabilities.detach()));
        Ok(output)
    }

    /// Greedy decoding: the best class at each time step, without repetitions and blanks. The score
    /// is the geometric mean of the best classes' probabilities over all time steps.
    fn finish(&mut self, args: &FinishArgs<'_>) -> Result<Vec<Fields>> {
        let (best, class) = output(args.outputs, "log_probabilities")?.f_max_dim(-1, false)?;
        let mut all = Vec::with_capacity(args.metas.len());
        for (i, meta) in args.metas.iter().enumerate() {
            let own = |t: &Tensor| -> Result<Tensor> {
                Ok(t.f_select(1, i as i64)?.f_narrow(0, 0, time_steps(meta))?)
            };
            let classes = Vec::<i64>::try_from(own(&class)?)?;
            let score = own(&best)?.f_mean(Kind::Float)?.f_exp()?.double_value(&[]) as f32;
            let mut text = String::new();
            let mut before = BLANK;
            for class in classes {
                if class != before && class != BLANK {
                    text.extend(usize::try_from(class - 1).ok().and_then(|c| self.charset.get(c)));
                }
                before = class;
            }
            let fields = Fields::new().with("text", Role::TEXT, Array::text(&text));
            all.push(fields.with("score", Role::OPAQUE, Array::vector(&[score])));
        }
        Ok(all)
    }

    fn config_json(&self) -> Result<Value> {
        Ok(json!({"model_type": "walk-text", "channels": self.channels}))
    }
}

//! Adapter `walk-panoptic`: a few convolutions classify each pixel; things are separated where they
//! don't touch.

use super::metric::Segments;
use super::{VOID, things};
use crate::shared::components::components;
use crate::shared::layers::{Conv, image, relu_stack, write_image};
use crate::shared::options::{COLOUR_SCALE, output, refuse, threshold};
use cvhost_plugin_api::data::{
    Array, ArrayMut, Batch, CollateRule, DType, Field, Fields, LabelSpec, Meta, Mode, Output, Parameter,
    Prepared, Role, Shape, StepContext, Tags, TensorHandle,
};
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::sdk::{Adapter, AdapterArgs, FinishArgs, Input, Model, PrepareArgs, ShapeArgs};
use cvhost_plugin_api::serde_json::{Map, Value, json};
use cvhost_plugin_api::torch::tch::{Kind, Reduction, Tensor};
use cvhost_plugin_api::torch::{ParameterSet, named};

/// The class that losses ignore: void pixels and padding.
const IGNORE: i64 = 255;
/// Minimum number of pixels in a segment.
const MIN_AREA: usize = 12;

pub struct PixelClasses;

impl Adapter for PixelClasses {
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
        let channels = args.checkpoint.config["channels"].as_i64().unwrap_or(16);
        let parameters = ParameterSet::new();
        let root = parameters.root();
        let layers = vec![
            Conv::new(&root.sub("layer1"), 3, channels, 3),
            Conv::new(&root.sub("layer2"), channels, channels, 3).spread(2),
            Conv::new(&root.sub("layer3"), channels, channels, 3).spread(4),
        ];
        let head = Conv::new(
            &root.sub("head").tagged(Tags::CLASS_HEAD),
            channels,
            spec.names.len() as i64,
            1,
        );
        let things = things(spec)?;
        Ok(Box::new(Network {
            parameters,
            layers,
            head,
            channels,
            things,
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

    /// `class_map` `[H, W]` i64: the class of each pixel's segment, 255 where there is none. A
    /// segment that was cropped out of the image keeps its row in the columns, but no pixel refers
    /// to it.
    fn prepare(&self, args: &PrepareArgs<'_>, mut out: ArrayMut<'_>) -> Result<Prepared> {
        let image = image(args.sample)?;
        write_image(&mut out, image)?;
        let mut prepared = Prepared::default();
        if let Some(map) = args.sample.fields.get("segment_map") {
            let labels = Segments::of(&args.sample.fields)?.labels;
            let class = |s: &i32| {
                usize::try_from(*s)
                    .ok()
                    .and_then(|s| labels.get(s))
                    .copied()
                    .unwrap_or(IGNORE)
            };
            let classes: Vec<i64> = map.values::<i32>()?.iter().map(class).collect();
            let field = Field::new("class_map", Role::LABEL_MAP, Array::new(map.dims(), &classes)?);
            prepared.fields = Fields::new().and(field.filled_with(IGNORE as f64));
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
        let mut class_map = CollateRule::pad("class_map", "");
        class_map.fill = IGNORE as f64;
        vec![CollateRule::pad("pixel_values", ""), class_map]
    }

    fn config_json(&self) -> Result<Value> {
        Ok(json!({"image_processor_type": "WalkPanoptic"}))
    }
}

struct Network {
    parameters: ParameterSet,
    layers: Vec<Conv>,
    head: Conv,
    channels: i64,
    things: Vec<bool>,
    spec: LabelSpec,
}

impl Model for Network {
    fn parameters(&self) -> Result<Vec<Parameter>> {
        Ok(self.parameters.list(|_| Vec::new()))
    }

    fn initialise(&mut self, names: &[&str]) -> Result<()> {
        self.parameters.initialise(names)
    }

    /// The number of labelled pixels.
    fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        if !batch.has("class_map") {
            return Ok(Vec::new());
        }
        let labelled = batch.tensor("class_map")?.f_ne(IGNORE)?.f_sum(Kind::Int64)?;
        Ok(vec![labelled.double_value(&[])])
    }

    fn forward(&mut self, batch: &Batch, context: &StepContext<'_>) -> Result<Output> {
        let features = relu_stack(&self.layers, &batch.tensor("pixel_values")?)?;
        let logits = self.head.forward(&features)?;
        let mut output = Output::default();
        if context.mode != Mode::PREDICT {
            let classes = batch.tensor("class_map")?;
            let sum = logits.f_cross_entropy_loss(&classes, None::<Tensor>, Reduction::Sum, IGNORE, 0.0)?;
            let pixels = context.normalisers.first().copied().unwrap_or(1.0).max(1.0);
            output.loss = Some(TensorHandle::new(sum.f_div_scalar(pixels)?)).into();
        }
        output.outputs.push(named("logits", logits.detach()));
        Ok(output)
    }

    fn finish(&mut self, args: &FinishArgs<'_>) -> Result<Vec<Fields>> {
        let options = &args.options;
        let logits = output(args.outputs, "logits")?;
        let mut all = Vec::with_capacity(args.metas.len());
        for (i, meta) in args.metas.iter().enumerate() {
            let (height, width) = (i64::from(meta.input_height), i64::from(meta.input_width));
            let own = logits
                .f_get(i as i64)?
                .f_narrow(1, 0, height)?
                .f_narrow(2, 0, width)?;
            let (score, class) = own.f_softmax(0, Kind::Float)?.f_max_dim(0, false)?;
            let scores = Vec::<f32>::try_from(score.f_flatten(0, -1)?)?;
            let classes = Vec::<i64>::try_from(class.f_flatten(0, -1)?)?;
            all.push(self.segments(meta, &classes, &scores, threshold(options))?);
        }
        Ok(all)
    }

    fn config_json(&self) -> Result<Value> {
        let names = self.spec.names.iter().enumerate();
        let labels: Map<String, Value> = names.map(|(i, n)| (i.to_string(), json!(n.as_str()))).collect();
        Ok(json!({"model_type": "walk-panoptic", "channels": self.channels, "id2label": labels}))
    }
}

impl Network {
    /// Segments of one image from a class and a probability per pixel: one segment per class for
    /// stuff, one per connected component for things. Segments that are small, or whose mean score
    /// over their pixels is below `least`, become void.
    fn segments(&self, meta: &Meta, classes: &[i64], scores: &[f32], least: f64) -> Result<Fields> {
        let thing = |class: i64| usize::try_from(class).ok().and_then(|c| self.things.get(c)) == Some(&true);
        let mut found: Vec<(i64, Vec<usize>)> = Vec::new();
        for part in components(classes, meta.input_width as usize) {
            let stuff = found
                .iter_mut()
                .find(|(class, _)| *class == part.value && !thing(part.value));
            match stuff {
                Some((_, pixels)) => pixels.extend(part.pixels),
                None => found.push((part.value, part.pixels)),
            }
        }
        let mut map = vec![VOID; classes.len()];
        let (mut labels, mut means) = (Vec::new(), Vec::new());
        for (class, pixels) in found {
            let sum: f32 = pixels.iter().filter_map(|p| scores.get(*p)).sum();
            let mean = sum / pixels.len() as f32;
            if pixels.len() < MIN_AREA || f64::from(mean) < least {
                continue;
            }
            for pixel in pixels {
                if let Some(value) = map.get_mut(pixel) {
                    *value = labels.len() as i32;
                }
            }
            labels.push(class);
            means.push(mean);
        }
        let map = Array::new(&[u64::from(meta.height), u64::from(meta.width)], &map)?;
        Ok(Fields::new()
            .and(Field::new("segment_map", Role::LABEL_MAP, map).filled_with(f64::from(VOID)))
            .with("segment_labels", Role::COLUMN, Array::vector(&labels))
            .with("segment_scores", Role::COLUMN, Array::vector(&means)))
    }
}

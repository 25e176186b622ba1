//! Adapter `walk-keypoints`: crops the person, and locates each keypoint as the mean of a heatmap
//! (Sun et al. 2018, "Integral Human Pose Regression").

use super::Anatomy;
use crate::shared::geometry::colour_at;
use crate::shared::layers::{Conv, image, relu_stack, write_colours};
use crate::shared::options::{COLOUR_SCALE, output, refuse};
use cvhost_plugin_api::data::{
    Array, ArrayMut, Batch, CollateRule, DType, Field, Fields, LabelSpec, Meta, Mode, Optional, Output,
    Parameter, Prepared, Region, Role, Shape, StepContext, Tags, TensorHandle,
};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::sdk::{Adapter, AdapterArgs, FinishArgs, Input, Model, PrepareArgs, ShapeArgs};
use cvhost_plugin_api::serde_json::{Map, Value, json};
use cvhost_plugin_api::torch::tch::{Kind, Tensor};
use cvhost_plugin_api::torch::{ParameterSet, named};

/// Width and height of the crop.
const SIDE: u32 = 32;
/// The crop's side, as a multiple of the box's longer side.
const MARGIN: f64 = 1.25;

pub struct Heatmaps;

impl Adapter for Heatmaps {
    fn input(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Input>> {
        refuse(
            args.config,
            &["data.image_size"],
            "this network processes each person at 32x32",
        )?;
        refuse(
            args.config,
            &COLOUR_SCALE,
            "this network has a fixed colour scale",
        )?;
        Ok(Box::new(Crop {
            keypoints: Anatomy::of(args.spec)?.names.len(),
        }))
    }

    fn model(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Model>> {
        let spec = args.spec;
        let anatomy = Anatomy::of(spec)?;
        let channels = args.checkpoint.config["channels"].as_i64().unwrap_or(24);
        let parameters = ParameterSet::new();
        let root = parameters.root();
        let layers = vec![
            // In addition to colours, the input has each pixel's position in the crop: only that
            // distinguishes left from right.
            Conv::new(&root.sub("layer1"), 5, channels, 3).every([2, 2]),
            Conv::new(&root.sub("layer2"), channels, channels, 3),
            Conv::new(&root.sub("layer3"), channels, channels, 3).spread(2),
        ];
        let head = root.sub("head").tagged(Tags::CLASS_HEAD);
        let head = Conv::new(&head, channels, anatomy.names.len() as i64, 1);
        Ok(Box::new(Network {
            parameters,
            layers,
            head,
            channels,
            spec: spec.clone(),
        }))
    }
}

/// The square to crop for a region, in pixels of the image: left, top, side.
fn square(region: &Region) -> [f64; 3] {
    let side = region.width.max(region.height) * MARGIN;
    let centre = [region.x + region.width / 2.0, region.y + region.height / 2.0];
    [centre[0] - side / 2.0, centre[1] - side / 2.0, side]
}

fn region_of(region: &Optional<Region>) -> Result<Region> {
    region
        .as_ref()
        .copied()
        .ok_or_else(|| PluginError::data("the record has no person's box as its region"))
}

struct Crop {
    keypoints: usize,
}

impl Input for Crop {
    fn shape(&self, _args: &ShapeArgs) -> Result<Shape> {
        Ok(Shape::new(
            "pixel_values",
            DType::F32,
            &[3, u64::from(SIDE), u64::from(SIDE)],
        ))
    }

    /// `keypoints` `[K, 3]` f32: x and y from 0 to 1 in the crop, and 1 where there is a target. A
    /// person cropped out of the image by an augmentation is no longer in the fields, nor is one
    /// that is only to be predicted: there is no target.
    fn prepare(&self, args: &PrepareArgs<'_>, mut out: ArrayMut<'_>) -> Result<Prepared> {
        let sample = args.sample;
        let image = image(sample)?;
        let [left, top, side] = square(&region_of(&sample.region)?);
        let step = side / f64::from(SIDE);
        write_colours(&mut out, |x, y| {
            colour_at(
                image,
                [
                    left + (f64::from(x) + 0.5) * step,
                    top + (f64::from(y) + 0.5) * step,
                ],
            )
        })?;
        let mut targets = vec![0.0f32; self.keypoints * 3];
        if let Some(keypoints) = sample.fields.get("keypoints") {
            let flat = keypoints.to_f64()?;
            for (target, [x, y, visibility]) in targets
                .as_chunks_mut::<3>()
                .0
                .iter_mut()
                .zip(flat.as_chunks::<3>().0)
            {
                if *visibility > 0.0 {
                    *target = [(x - left) / side, (y - top) / side, 1.0].map(|v| v as f32);
                }
            }
        }
        let targets = Array::new(&[self.keypoints as u64, 3], &targets)?;
        let mut prepared = Prepared {
            fields: Fields::new().with("keypoints", Role::OPAQUE, targets),
            ..Prepared::default()
        };
        prepared.meta = Meta {
            width: image.width,
            height: image.height,
            input_width: SIDE,
            input_height: SIDE,
            region: sample.region,
            extra: sample
                .fields
                .field("scores")
                .cloned()
                .map_or_else(Fields::new, |f| Fields::new().and(f)),
            ..Meta::default()
        };
        Ok(prepared)
    }

    fn collate(&self) -> Vec<CollateRule> {
        vec![
            CollateRule::stack("pixel_values"),
            CollateRule::stack("keypoints"),
        ]
    }

    fn config_json(&self) -> Result<Value> {
        Ok(json!({"image_processor_type": "WalkKeypoints", "size": SIDE}))
    }
}

struct Network {
    parameters: ParameterSet,
    layers: Vec<Conv>,
    head: Conv,
    channels: i64,
    spec: LabelSpec,
}

impl Model for Network {
    fn parameters(&self) -> Result<Vec<Parameter>> {
        Ok(self.parameters.list(|_| Vec::new()))
    }

    fn initialise(&mut self, names: &[&str]) -> Result<()> {
        self.parameters.initialise(names)
    }

    /// The number of labelled keypoints.
    fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        let labelled = batch.tensor("keypoints")?.f_select(-1, 2)?.f_sum(Kind::Double)?;
        Ok(vec![labelled.double_value(&[])])
    }

    /// The loss is the mean distance along x plus that along y over the labelled keypoints, as a
    /// fraction of the crop's side.
    fn forward(&mut self, batch: &Batch, context: &StepContext<'_>) -> Result<Output> {
        let pixels = batch.tensor("pixel_values")?;
        let (count, side) = (batch.len() as i64, i64::from(SIDE));
        let steps = Tensor::f_linspace(-1.0, 1.0, side, (Kind::Float, pixels.device()))?;
        let across = steps
            .f_view([1, 1, 1, side])?
            .f_expand([count, 1, side, side], false)?;
        let down = steps
            .f_view([1, 1, side, 1])?
            .f_expand([count, 1, side, side], false)?;
        let features = relu_stack(&self.layers, &Tensor::f_cat(&[pixels, across, down], 1)?)?;
        let heat = self.head.forward(&features)?;
        let cells = side / 2;
        let heat = heat
            .f_flatten(2, 3)?
            .f_softmax(-1, Kind::Float)?
            .f_unflatten(2, [cells, cells])?;
        let centres = (Tensor::f_arange(cells, (Kind::Float, heat.device()))?.f_add_scalar(0.5)?)
            .f_div_scalar(cells)?;
        let mean = |dim: i64| -> Result<Tensor> {
            let line = heat.f_sum_dim_intlist(dim, false, Kind::Float)?;
            Ok(line.f_mul(&centres)?.f_sum_dim_intlist(-1, false, Kind::Float)?)
        };
        // x from the column sums, y from the row sums.
        let points = Tensor::f_stack(&[mean(2)?, mean(3)?], -1)?;
        let mut output = Output::default();
        if context.mode != Mode::PREDICT {
            let target = batch.tensor("keypoints")?;
            let distances = points
                .f_sub(&target.f_narrow(-1, 0, 2)?)?
                .f_abs()?
                .f_mul(&target.f_narrow(-1, 2, 1)?)?;
            let labelled = context.normalisers.first().copied().unwrap_or(1.0).max(1.0);
            output.loss = Some(TensorHandle::new(
                distances.f_sum(Kind::Float)?.f_div_scalar(labelled)?,
            ))
            .into();
        }
        // The fraction of the heat near its mean: without a keypoint it spreads out.
        let near = |line: &Tensor, at: i64| -> Result<Tensor> {
            let away = centres
                .f_sub(&points.f_select(-1, at)?.f_unsqueeze(-1)?)?
                .f_abs()?;
            let near = away.f_le(2.0 / cells as f64)?.f_to_kind(Kind::Float)?;
            Ok(line.f_mul(&near)?.f_sum_dim_intlist(-1, false, Kind::Float)?)
        };
        let (columns, rows) = (
            heat.f_sum_dim_intlist(2, false, Kind::Float)?,
            heat.f_sum_dim_intlist(3, false, Kind::Float)?,
        );
        let sure = near(&columns, 0)?.f_mul(&near(&rows, 1)?)?.f_unsqueeze(-1)?;
        output
            .outputs
            .push(named("points", Tensor::f_cat(&[points, sure], -1)?.detach()));
        Ok(output)
    }

    /// Keypoints in pixels of the image. The score is the mean of the keypoints' scores, times the
    /// box's score if there is one.
    fn finish(&mut self, args: &FinishArgs<'_>) -> Result<Vec<Fields>> {
        let points = output(args.outputs, "points")?;
        let mut all = Vec::with_capacity(args.metas.len());
        for (i, meta) in args.metas.iter().enumerate() {
            let region = region_of(&meta.region)?;
            let [left, top, side] = square(&region);
            let own = Vec::<f32>::try_from(points.f_get(i as i64)?.f_flatten(0, -1)?)?;
            let (rows, _) = own.as_chunks::<3>();
            let in_image = |[x, y, sure]: &[f32; 3]| {
                [
                    left + f64::from(*x) * side,
                    top + f64::from(*y) * side,
                    f64::from(*sure),
                ]
                .map(|v| v as f32)
            };
            let keypoints: Vec<f32> = rows.iter().flat_map(in_image).collect();
            let sure = rows.iter().map(|row| row[2]).sum::<f32>() / rows.len().max(1) as f32;
            let given = match meta.extra.get("scores") {
                Some(scores) => scores.values::<f32>()?.first().copied().unwrap_or(1.0),
                None => 1.0,
            };
            let bounds = [
                region.x,
                region.y,
                region.x + region.width,
                region.y + region.height,
            ]
            .map(|v| v as f32);
            let keypoints = Array::new(&[1, rows.len() as u64, 3], &keypoints)?;
            all.push(
                Fields::new()
                    .and(Field::new("keypoints", Role::KEYPOINTS, keypoints))
                    .with("boxes", Role::BOXES, Array::rows(&[bounds]))
                    .with("scores", Role::COLUMN, Array::vector(&[given * sure])),
            );
        }
        Ok(all)
    }

    fn config_json(&self) -> Result<Value> {
        let names = self.spec.names.iter().enumerate();
        let labels: Map<String, Value> = names.map(|(i, n)| (i.to_string(), json!(n.as_str()))).collect();
        Ok(json!({"model_type": "walk-keypoints", "channels": self.channels, "id2label": labels}))
    }
}

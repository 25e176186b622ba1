//! Task `walk-panoptic`: segmented scenes, panoptic quality, and the segments as PNG.

use super::images::{HEIGHT, NAMES, THINGS, WIDTH, scene};
use super::metric::{Counts, NUMBERS, Segments, compare};
use super::{FORM, VOID, things};
use crate::shared::tally::Tally;
use crate::shared::{canvas, options, png};
use cvhost_plugin_api::data::{
    Array, Artifact, Field, Fields, Image, ImageSource, LabelSpec, MetricInfo, OpenArgs, Problem, Record,
    RecordArgs, RecordMeta, Report, Role, Table,
};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::sdk::{DataSet, Evaluator, EvaluatorArgs, PredictionArgs, Task};
use cvhost_plugin_api::serde_json::{Value, json};

pub struct Panoptic;

impl Task for Panoptic {
    fn form(&self) -> &str {
        FORM
    }

    fn metrics(&self) -> Vec<MetricInfo> {
        vec![
            MetricInfo::higher("pq", "panoptic quality, the mean over the classes"),
            MetricInfo::higher("sq", "segmentation quality: the mean IoU of matched segments"),
            MetricInfo::higher("rq", "recognition quality: the F1 score of matching segments"),
            MetricInfo::higher("pq_things", "panoptic quality of the classes that are things"),
            MetricInfo::higher("pq_stuff", "panoptic quality of the classes that are stuff"),
            MetricInfo::higher("pq_<class>", "panoptic quality of one class"),
        ]
    }

    fn open(&self, args: &OpenArgs) -> Result<Box<dyn DataSet>> {
        Ok(Box::new(Scenes {
            split: args.split.clone(),
            count: options::images(args),
        }))
    }

    fn evaluator(&self, args: &EvaluatorArgs<'_>) -> Result<Box<dyn Evaluator>> {
        let spec = args.spec;
        Ok(Box::new(Quality {
            tally: Tally::default(),
            things: things(spec)?,
            spec: spec.clone(),
        }))
    }

    /// The segments as COCO's panoptic format lists them (`segments_info`), with the ids that the
    /// PNG of [`Task::files`] has.
    fn to_json(&self, args: &PredictionArgs<'_>) -> Result<Value> {
        let options = &args.options;
        let segments = Segments::of(args.prediction)?;
        let scores: &[f32] = args.prediction.require("segment_scores")?.values()?;
        let (things, least) = (things(args.spec)?, options::threshold(options));
        let mut list = Vec::new();
        for (number, (label, score)) in segments.labels.iter().zip(scores).enumerate() {
            if f64::from(*score) < least {
                continue;
            }
            let class = usize::try_from(*label).unwrap_or(usize::MAX);
            list.push(json!({
                "id": number + 1,
                "label": args.spec.name(*label),
                "label_id": label,
                "category_id": args.spec.ids.get(class),
                "isthing": things.get(class),
                "area": segments.map.iter().filter(|s| **s == number as i32).count(),
                "score": score,
            }));
        }
        Ok(json!({"predictions": list}))
    }

    /// COCO's panoptic PNG: a pixel's segment id is R + 256·G + 65536·B, and 0 is void.
    fn files(&self, args: &PredictionArgs<'_>) -> Result<Vec<Artifact>> {
        let (map, width, height) = map_of(args.prediction)?;
        let bytes: Vec<u8> = map
            .iter()
            .flat_map(|segment| {
                let [r, g, b, _] = u32::try_from(segment + 1).unwrap_or(0).to_le_bytes();
                [r, g, b]
            })
            .collect();
        Ok(vec![Artifact {
            file_name: "-panoptic.png".into(),
            bytes: png::rgb(width, height, &bytes)?.into(),
            extra: Default::default(),
        }])
    }

    /// Draws each thing in its own colour over the image, stuff in its class's colour, with dark
    /// edges. `max_boxes` and `confidence_threshold` exclude segments with low scores.
    fn draw(&self, args: &PredictionArgs<'_>, canvas: &mut Image) -> Result<()> {
        let prediction = args.prediction;
        let options = &args.options;
        let (map, width, height) = map_of(prediction)?;
        let (labels, things) = (Segments::of(prediction)?.labels, things(args.spec)?);
        let class = |number: usize| labels.get(number).map_or(0, |l| usize::try_from(*l).unwrap_or(0));
        // Stuff gets the first colours, things the ones after them.
        let colour = |number: usize| match things.get(class(number)) {
            Some(false) => canvas::colour(class(number)),
            _ => canvas::colour(things.len() + number),
        };
        let scores: &[f32] = prediction.require("segment_scores")?.values()?;
        let least = options["confidence_threshold"].as_f64().unwrap_or(0.0);
        let most = options["max_boxes"].as_u64().map_or(usize::MAX, |n| n as usize);
        let mut shown: Vec<usize> = (0..scores.len()).collect();
        let score = |i: usize| f64::from(scores.get(i).copied().unwrap_or(0.0));
        shown.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
        shown.truncate(most);
        shown.retain(|i| score(*i) >= least);
        let at = |x: u32, y: u32| map.get((y * width + x) as usize).copied().unwrap_or(VOID);
        for y in 0..height {
            for x in 0..width {
                let here = at(x, y);
                let Some(number) = usize::try_from(here).ok().filter(|n| shown.contains(n)) else {
                    continue;
                };
                let edge =
                    (x + 1 < width && at(x + 1, y) != here) || (y + 1 < height && at(x, y + 1) != here);
                canvas::tint(canvas, x, y, if edge { [0; 3] } else { colour(number) });
            }
        }
        canvas::enlarge(canvas, 4);
        Ok(())
    }
}

/// The map of a prediction with its width and height.
fn map_of(prediction: &Fields) -> Result<(&[i32], u32, u32)> {
    let array = prediction.require("segment_map")?;
    match array.dims() {
        &[height, width] => Ok((array.values()?, width as u32, height as u32)),
        other => Err(PluginError::failed(format!(
            "the segment map has shape {other:?}; expected [H, W]"
        ))),
    }
}

struct Scenes {
    split: String,
    count: usize,
}

impl DataSet for Scenes {
    fn spec(&self) -> LabelSpec {
        LabelSpec {
            form: FORM.into(),
            names: NAMES.iter().map(|n| (*n).into()).collect(),
            // Ids with a gap, as COCO has them.
            ids: vec![1, 2, 5, 6].into(),
            extra: json!({"isthing": THINGS}).to_string().into(),
        }
    }

    fn len(&self) -> usize {
        self.count
    }

    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }

    fn meta(&self, _: usize) -> Result<RecordMeta> {
        Ok(RecordMeta {
            width: WIDTH,
            height: HEIGHT,
            ..RecordMeta::default()
        })
    }

    fn record(&self, args: &RecordArgs) -> Result<Record> {
        let index = args.index as usize;
        let scene = scene(&self.split, index);
        let map = Array::new(&[u64::from(HEIGHT), u64::from(WIDTH)], &scene.map)?;
        Ok(Record {
            name: format!("{}-{index}", self.split).into(),
            images: vec![ImageSource::decoded(scene.image)].into(),
            fields: Fields::new()
                .and(Field::new("segment_map", Role::LABEL_MAP, map).filled_with(f64::from(VOID)))
                .with("segment_labels", Role::COLUMN, Array::vector(&scene.labels)),
            ..Record::default()
        })
    }
}

struct Quality {
    tally: Tally,
    things: Vec<bool>,
    spec: LabelSpec,
}

impl Evaluator for Quality {
    fn update(&mut self, ids: &[u64], predictions: &[Fields], targets: &[Fields]) -> Result<()> {
        let classes = self.things.len();
        self.tally
            .update(ids, predictions, targets, |prediction, target| {
                compare(&Segments::of(prediction)?, &Segments::of(target)?, classes)
            })
    }

    fn state(&self) -> Result<Vec<u8>> {
        self.tally.state()
    }

    fn merge(&mut self, state: &[u8]) -> Result<()> {
        self.tally.merge(state)
    }

    fn compute(&mut self) -> Result<Report> {
        let sums = self.tally.sums();
        let qualities: Vec<Option<[f64; 3]>> = sums
            .chunks(NUMBERS)
            .map(|numbers| Counts::of_numbers(numbers).quality())
            .collect();
        let mean = |part: usize, of: &dyn Fn(bool) -> bool| {
            let chosen = qualities
                .iter()
                .zip(&self.things)
                .filter(|(_, thing)| of(**thing));
            let values: Vec<f64> = chosen
                .filter_map(|(q, _)| q.as_ref()?.get(part).copied())
                .collect();
            values.iter().sum::<f64>() / values.len() as f64
        };
        let mut report = Report::default();
        for (part, name) in ["pq", "sq", "rq"].iter().enumerate() {
            report.push(*name, mean(part, &|_| true));
        }
        report.push("pq_things", mean(0, &|thing| thing));
        report.push("pq_stuff", mean(0, &|thing| !thing));
        let mut table = Table {
            name: "classes".into(),
            columns: ["class", "pq", "sq", "rq"].map(Into::into).to_vec().into(),
            ..Table::default()
        };
        for (name, quality) in self.spec.names.iter().zip(&qualities) {
            let quality = quality.unwrap_or([f64::NAN; 3]);
            report.push(format!("pq_{name}"), quality[0]);
            let mut row = vec![name.clone()];
            row.extend(quality.map(|q| format!("{q:.3}").into()));
            table.rows.push(row.into());
        }
        report.tables.push(table);
        Ok(report)
    }
}

//! Task `walk-keypoints`: one record per person, PCK and OKS, and skeletons drawn over the image.

use super::metric::{ALPHA, compare};
use super::people::{HEIGHT, KEYPOINTS, MIRROR, Person, SIGMAS, SKELETON, WIDTH, people};
use super::{Anatomy, FORM};
use crate::shared::tally::Tally;
use crate::shared::{canvas, options};
use cvhost_plugin_api::data::{
    Array, Field, Fields, Image, ImageSource, LabelSpec, MetricInfo, OpenArgs, Optional, Problem, Record,
    RecordArgs, RecordMeta, Region, Report, Role, Table,
};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::sdk::{DataSet, Evaluator, EvaluatorArgs, ExpandArgs, PredictionArgs, Task};
use cvhost_plugin_api::serde_json::{Value, json};

/// The label of the class that has keypoints.
const PERSON: &str = "person";

pub struct Keypoints;

impl Task for Keypoints {
    fn form(&self) -> &str {
        FORM
    }

    fn metrics(&self) -> Vec<MetricInfo> {
        vec![
            MetricInfo::higher(
                "pck",
                "the fraction of keypoints within a tenth of the box's longer side",
            ),
            MetricInfo::higher("oks", "the mean object keypoint similarity of COCO's evaluation"),
        ]
    }

    fn open(&self, args: &OpenArgs) -> Result<Box<dyn DataSet>> {
        let mut persons = Vec::new();
        for image in 0..options::images(args) {
            let (_, found) = people(&args.split, image);
            persons.extend((0..found.len()).map(|person| [image, person]));
        }
        Ok(Box::new(Persons {
            split: args.split.clone(),
            persons,
        }))
    }

    /// A record for each box in the prompt's `predictions` whose `label`, if any, is the class that
    /// has keypoints.
    fn expand(&self, args: &ExpandArgs<'_>) -> Result<Vec<Record>> {
        let prompt = &args.prompt;
        let spec = args.spec;
        let predictions = prompt["predictions"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let persons = predictions.iter().filter(|p| {
            p["label"]
                .as_str()
                .is_none_or(|label| spec.names.iter().any(|n| n == label))
        });
        persons
            .map(|prediction| record_of_box(args.image, prediction))
            .collect()
    }

    fn evaluator(&self, args: &EvaluatorArgs<'_>) -> Result<Box<dyn Evaluator>> {
        Ok(Box::new(Accuracy {
            tally: Tally::default(),
            anatomy: Anatomy::of(args.spec)?,
        }))
    }

    fn to_json(&self, args: &PredictionArgs<'_>) -> Result<Value> {
        let options = &args.options;
        let (anatomy, least) = (Anatomy::of(args.spec)?, options::threshold(options));
        let found = found(args.prediction)?
            .into_iter()
            .filter(|person| person.score >= least);
        let list = found.map(|person| {
            let named: Vec<Value> = anatomy
                .names
                .iter()
                .zip(&person.keypoints)
                .map(|(name, [x, y, score])| json!({"name": name, "x": x, "y": y, "score": score}))
                .collect();
            json!({"label": PERSON, "score": person.score, "box_xyxy": person.bounds, "keypoints": named})
        });
        Ok(json!({"predictions": list.collect::<Vec<_>>()}))
    }

    /// Draws each person's box and skeleton in the person's colour, with a dot per keypoint: left
    /// ones blue, right ones red.
    fn draw(&self, args: &PredictionArgs<'_>, canvas: &mut Image) -> Result<()> {
        let prediction = args.prediction;
        let options = &args.options;
        const ZOOM: u32 = 4;
        let anatomy = Anatomy::of(args.spec)?;
        let least = options["confidence_threshold"].as_f64().unwrap_or(0.0);
        let most = options["max_boxes"].as_u64().map_or(usize::MAX, |n| n as usize);
        let mut found = found(prediction)?;
        found.retain(|person| person.score >= least);
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        canvas::enlarge(canvas, ZOOM);
        for (number, person) in found.iter().take(most).enumerate() {
            let colour = canvas::colour(number + 2);
            canvas::outline(canvas, person.bounds.map(|at| at * f64::from(ZOOM)), colour);
            let at = |k: usize| {
                person
                    .keypoints
                    .get(k)
                    .map(|[x, y, _]| [x, y].map(|v| v * f64::from(ZOOM)))
            };
            for [from, to] in &anatomy.skeleton {
                if let (Some(from), Some(to)) = (at(*from), at(*to)) {
                    canvas::paint(canvas, canvas::line(from, to, 1.0), colour);
                }
            }
            for (k, name) in anatomy.names.iter().enumerate() {
                let dot = match name.split('_').next() {
                    Some("left") => [40, 90, 250],
                    Some("right") => [240, 40, 40],
                    _ => [255, 255, 255],
                };
                if let Some(at) = at(k) {
                    canvas::paint(canvas, canvas::disc(at, 4.0), dot);
                }
            }
        }
        Ok(())
    }
}

/// The record for a box from an earlier stage.
fn record_of_box(image: &Image, prediction: &Value) -> Result<Record> {
    let numbers = prediction["box_xyxy"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let numbers: Vec<f64> = numbers.iter().filter_map(Value::as_f64).collect();
    let bounds = <[f64; 4]>::try_from(numbers).ok().filter(|[x1, y1, x2, y2]| {
        let (width, height) = (f64::from(image.width), f64::from(image.height));
        x1 < x2 && y1 < y2 && *x1 < width && *y1 < height && *x2 > 0.0 && *y2 > 0.0
    });
    let bounds = bounds.ok_or_else(|| {
        PluginError::data(format!(
            "`box_xyxy` of {prediction} is not a box on an image of {}x{}",
            image.width, image.height
        ))
        .with_help("give four numbers in pixels: left, top, right, bottom")
    })?;
    let score = prediction["score"].as_f64().unwrap_or(1.0) as f32;
    let fields = Fields::new().with("boxes", Role::BOXES, Array::rows(&[bounds.map(|v| v as f32)]));
    Ok(Record {
        region: Optional::some(region(bounds)),
        fields: fields.with("scores", Role::COLUMN, Array::vector(&[score])),
        ..Record::default()
    })
}

fn region([x1, y1, x2, y2]: [f64; 4]) -> Region {
    Region {
        x: x1,
        y: y1,
        width: x2 - x1,
        height: y2 - y1,
        angle: 0.0,
    }
}

/// One predicted person.
struct Found {
    bounds: [f64; 4],
    score: f64,
    keypoints: Vec<[f64; 3]>,
}

/// The people in an image; nobody if there are no fields.
fn found(prediction: &Fields) -> Result<Vec<Found>> {
    if prediction.items.is_empty() {
        return Ok(Vec::new());
    }
    let boxes = prediction.require("boxes")?.to_rows::<4>()?;
    let scores = prediction.require("scores")?.to_f64()?;
    let keypoints = rows_of(prediction)?;
    let each = keypoints.len() / boxes.len().max(1);
    let persons = boxes.into_iter().zip(scores).zip(keypoints.chunks(each.max(1)));
    Ok(persons
        .map(|((bounds, score), k)| Found {
            bounds,
            score,
            keypoints: k.to_vec(),
        })
        .collect())
}

/// All rows of `keypoints`, one person after another.
fn rows_of(fields: &Fields) -> Result<Vec<[f64; 3]>> {
    let flat = fields.require("keypoints")?.to_f64()?;
    Ok(flat.as_chunks::<3>().0.to_vec())
}

struct Persons {
    split: String,
    /// Each record's image, and the index of the person in it.
    persons: Vec<[usize; 2]>,
}

impl DataSet for Persons {
    fn spec(&self) -> LabelSpec {
        LabelSpec {
            form: FORM.into(),
            names: vec![PERSON.into()].into(),
            ids: vec![1].into(),
            extra: json!({"keypoints": KEYPOINTS, "sigmas": SIGMAS, "skeleton": SKELETON})
                .to_string()
                .into(),
        }
    }

    fn len(&self) -> usize {
        self.persons.len()
    }

    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }

    fn meta(&self, _: usize) -> Result<RecordMeta> {
        Ok(RecordMeta {
            width: WIDTH,
            height: HEIGHT,
            classes: vec![0].into(),
            extra: Default::default(),
        })
    }

    fn record(&self, args: &RecordArgs) -> Result<Record> {
        let index = args.index as usize;
        let [image, person] = self.persons.get(index).copied().unwrap_or_default();
        let (source, people) = people(&self.split, image);
        let Some(Person { bounds, keypoints }) = people.get(person) else {
            return Err(PluginError::failed(format!("there is no record {index}")));
        };
        let points: Vec<f32> = keypoints.iter().flatten().map(|v| *v as f32).collect();
        let points = Array::new(&[1, keypoints.len() as u64, 3], &points)?;
        Ok(Record {
            name: format!("{}-{image}, person {person}", self.split).into(),
            images: vec![ImageSource::decoded(source)].into(),
            region: Optional::some(region(*bounds)),
            fields: Fields::new()
                .and(Field::new("keypoints", Role::KEYPOINTS, points).mirrored_by(&MIRROR))
                .with("boxes", Role::BOXES, Array::rows(&[bounds.map(|v| v as f32)])),
            extra: Default::default(),
        })
    }
}

struct Accuracy {
    tally: Tally,
    anatomy: Anatomy,
}

impl Evaluator for Accuracy {
    fn update(&mut self, ids: &[u64], predictions: &[Fields], targets: &[Fields]) -> Result<()> {
        let sigmas = &self.anatomy.sigmas;
        self.tally
            .update(ids, predictions, targets, |prediction, target| {
                let bounds = target
                    .require("boxes")?
                    .to_rows::<4>()?
                    .first()
                    .copied()
                    .unwrap_or_default();
                Ok(compare(&rows_of(prediction)?, &rows_of(target)?, bounds, sigmas))
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
        // Two numbers per keypoint, then two for the person.
        let (points, person) = sums.split_at(sums.len().saturating_sub(2));
        let pairs = points.as_chunks::<2>().0;
        let total = pairs
            .iter()
            .fold([0.0; 2], |sum, pair| [sum[0] + pair[0], sum[1] + pair[1]]);
        let mut report = Report::default();
        report.push("pck", total[1] / total[0]);
        let mean = person
            .first()
            .zip(person.get(1))
            .map_or(f64::NAN, |(count, sum)| sum / count);
        report.push("oks", mean);
        let rows = self.anatomy.names.iter().zip(pairs).map(|(name, pair)| {
            vec![name.as_str().into(), format!("{:.3}", pair[1] / pair[0]).into()].into()
        });
        report.tables.push(Table {
            name: format!("PCK at {ALPHA}").into(),
            columns: ["keypoint", "pck"].map(Into::into).to_vec().into(),
            rows: rows.collect(),
            extra: Default::default(),
        });
        Ok(report)
    }
}

//! Task `walk-spots`: locates the people in the images of the keypoint task.

use super::FORM;
use crate::keypoints::people::{HEIGHT, WIDTH, people};
use crate::shared::geometry::iou;
use crate::shared::tally::Tally;
use crate::shared::{canvas, options};
use cvhost_plugin_api::data::{
    Array, Fields, Image, ImageSource, LabelSpec, MetricInfo, OpenArgs, Problem, Record, RecordArgs,
    RecordMeta, Report, Role,
};
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::sdk::{DataSet, Evaluator, EvaluatorArgs, PredictionArgs, Task};
use cvhost_plugin_api::serde_json::{Value, json};

/// A box is correct from this IoU on.
const MIN_IOU: f64 = 0.5;

pub struct Spots;

impl Task for Spots {
    fn form(&self) -> &str {
        FORM
    }

    fn metrics(&self) -> Vec<MetricInfo> {
        vec![MetricInfo::higher(
            "f1",
            "the F1 score of boxes that overlap with an IoU of 0.5 or more",
        )]
    }

    fn open(&self, args: &OpenArgs) -> Result<Box<dyn DataSet>> {
        Ok(Box::new(Images {
            split: args.split.clone(),
            count: options::images(args),
        }))
    }

    fn evaluator(&self, _args: &EvaluatorArgs<'_>) -> Result<Box<dyn Evaluator>> {
        Ok(Box::new(Matches::default()))
    }

    fn to_json(&self, args: &PredictionArgs<'_>) -> Result<Value> {
        let spec = args.spec;
        let options = &args.options;
        let least = options::threshold(options);
        let found = found(args.prediction)?
            .into_iter()
            .filter(|(_, score)| *score >= least);
        let list = found
            .map(|(b, score)| json!({"label": spec.name(0), "label_id": 0, "score": score, "box_xyxy": b}));
        Ok(json!({"predictions": list.collect::<Vec<_>>()}))
    }

    fn draw(&self, args: &PredictionArgs<'_>, canvas: &mut Image) -> Result<()> {
        let prediction = args.prediction;
        let options = &args.options;
        const ZOOM: u32 = 4;
        let least = options["confidence_threshold"].as_f64().unwrap_or(0.0);
        let most = options["max_boxes"].as_u64().map_or(usize::MAX, |n| n as usize);
        canvas::enlarge(canvas, ZOOM);
        let shown = found(prediction)?
            .into_iter()
            .filter(|(_, score)| *score >= least)
            .take(most);
        for (number, (bounds, _)) in shown.enumerate() {
            canvas::outline(
                canvas,
                bounds.map(|at| at * f64::from(ZOOM)),
                canvas::colour(number + 2),
            );
        }
        Ok(())
    }
}

/// Boxes with their scores, best first.
fn found(prediction: &Fields) -> Result<Vec<([f64; 4], f64)>> {
    let scores = prediction.require("scores")?.to_f64()?;
    let mut found: Vec<_> = prediction
        .require("boxes")?
        .to_rows::<4>()?
        .into_iter()
        .zip(scores)
        .collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(found)
}

struct Images {
    split: String,
    count: usize,
}

impl DataSet for Images {
    fn spec(&self) -> LabelSpec {
        LabelSpec {
            form: FORM.into(),
            names: vec!["person".into()].into(),
            ids: vec![1].into(),
            ..LabelSpec::default()
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
            classes: vec![0].into(),
            extra: Default::default(),
        })
    }

    fn record(&self, args: &RecordArgs) -> Result<Record> {
        let index = args.index as usize;
        let (image, people) = people(&self.split, index);
        let boxes: Vec<[f32; 4]> = people.iter().map(|p| p.bounds.map(|v| v as f32)).collect();
        Ok(Record {
            name: format!("{}-{index}", self.split).into(),
            images: vec![ImageSource::decoded(image)].into(),
            fields: Fields::new().with("boxes", Role::BOXES, Array::rows(&boxes)),
            ..Record::default()
        })
    }
}

/// For each record: matches, predictions, targets.
#[derive(Default)]
struct Matches(Tally);

impl Evaluator for Matches {
    fn update(&mut self, ids: &[u64], predictions: &[Fields], targets: &[Fields]) -> Result<()> {
        self.0.update(ids, predictions, targets, |prediction, target| {
            let found = found(prediction)?;
            let wanted = target.require("boxes")?.to_rows::<4>()?;
            // Best first, each prediction takes the unmatched target with the largest overlap.
            let mut free: Vec<usize> = (0..wanted.len()).collect();
            for (bounds, _) in &found {
                let overlap = |i: usize| wanted.get(i).map_or(0.0, |w| iou(*bounds, *w));
                let best = free
                    .iter()
                    .copied()
                    .max_by(|a, b| overlap(*a).total_cmp(&overlap(*b)));
                if let Some(best) = best.filter(|b| overlap(*b) >= MIN_IOU) {
                    free.retain(|i| *i != best);
                }
            }
            let matches = wanted.len() - free.len();
            Ok([matches, found.len(), wanted.len()].map(|n| n as f64).to_vec())
        })
    }

    fn state(&self) -> Result<Vec<u8>> {
        self.0.state()
    }

    fn merge(&mut self, state: &[u8]) -> Result<()> {
        self.0.merge(state)
    }

    fn compute(&mut self) -> Result<Report> {
        let sums = self.0.sums();
        let at = |i: usize| sums.get(i).copied().unwrap_or(f64::NAN);
        let mut report = Report::default();
        report.push("f1", 2.0 * at(0) / (at(1) + at(2)));
        Ok(report)
    }
}

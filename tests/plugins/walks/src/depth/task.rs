//! Task `walk-depth`: synthetic views, depth errors, and the depths as PNG.

use super::images::{HEIGHT, WIDTH, view};
use super::metric::errors;
use super::{FORM, depth_of};
use crate::shared::tally::Tally;
use crate::shared::{canvas, options, png};
use cvhost_plugin_api::data::{
    Array, Artifact, Fields, Image, ImageSource, LabelSpec, MetricInfo, OpenArgs, Problem, Record,
    RecordArgs, RecordMeta, Report, Role,
};
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::sdk::{DataSet, Evaluator, EvaluatorArgs, PredictionArgs, Task};
use cvhost_plugin_api::serde_json::{Value, json};

pub struct Depth;

impl Task for Depth {
    fn form(&self) -> &str {
        FORM
    }

    fn metrics(&self) -> Vec<MetricInfo> {
        vec![
            MetricInfo::lower("abs_rel", "the mean error as a fraction of the depth"),
            MetricInfo::lower("rmse", "the root of the mean squared error, in metres"),
            MetricInfo::higher(
                "delta1",
                "the fraction of pixels that are correct up to a factor of 1.25",
            ),
        ]
    }

    fn open(&self, args: &OpenArgs) -> Result<Box<dyn DataSet>> {
        Ok(Box::new(Views {
            split: args.split.clone(),
            count: options::images(args),
        }))
    }

    fn evaluator(&self, _args: &EvaluatorArgs<'_>) -> Result<Box<dyn Evaluator>> {
        Ok(Box::new(Errors::default()))
    }

    /// The minimum, median and maximum depth in metres. There are no scores, so `threshold` has no
    /// effect.
    fn to_json(&self, args: &PredictionArgs<'_>) -> Result<Value> {
        let mut depths = depth_of(args.prediction)?.0.to_vec();
        depths.sort_by(f32::total_cmp);
        let at = |i: usize| depths.get(i).copied();
        let (median, last) = (at(depths.len() / 2), depths.len().checked_sub(1).and_then(at));
        Ok(json!({"predictions": [{"min_m": at(0), "median_m": median, "max_m": last}]}))
    }

    /// 16-bit grayscale: millimetres, up to 65535.
    fn files(&self, args: &PredictionArgs<'_>) -> Result<Vec<Artifact>> {
        let (depths, width, height) = depth_of(args.prediction)?;
        // The cast saturates at 0 and 65535.
        let millimetres: Vec<u16> = depths.iter().map(|d| (d * 1000.0).round() as u16).collect();
        Ok(vec![Artifact {
            file_name: "-depth.png".into(),
            bytes: png::gray16(width, height, &millimetres)?.into(),
            extra: Default::default(),
        }])
    }

    /// Draws the depths next to the image: near is red, far is blue.
    fn draw(&self, args: &PredictionArgs<'_>, canvas: &mut Image) -> Result<()> {
        let (depths, width, height) = depth_of(args.prediction)?;
        let nearest = depths.iter().copied().fold(f32::INFINITY, f32::min);
        let farthest = depths.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        let mut pair = Image::filled(canvas.width + width, canvas.height.max(height), [0; 3]);
        for y in 0..canvas.height {
            for x in 0..canvas.width {
                pair.set_pixel(x, y, canvas.pixel(x, y).unwrap_or_default());
            }
        }
        for (i, depth) in depths.iter().enumerate() {
            let (x, y) = (i as u32 % width.max(1), i as u32 / width.max(1));
            // On a logarithmic scale, since the errors are relative.
            let fraction = (depth / nearest).ln() / (farthest / nearest).ln().max(1e-6);
            pair.set_pixel(canvas.width + x, y, heat(fraction.clamp(0.0, 1.0)));
        }
        *canvas = pair;
        canvas::enlarge(canvas, 4);
        Ok(())
    }
}

/// From red through yellow and green to blue.
fn heat(fraction: f32) -> [u8; 3] {
    let stops = [[215, 48, 39], [253, 200, 90], [120, 190, 110], [50, 90, 180]];
    let at = fraction * (stops.len() - 1) as f32;
    let (low, high) = (
        at.floor() as usize,
        (at.floor() as usize + 1).min(stops.len() - 1),
    );
    let stop = |i: usize, c: usize| f32::from(*stops.get(i).and_then(|s: &[u8; 3]| s.get(c)).unwrap_or(&0));
    std::array::from_fn(|c| (stop(low, c) + (stop(high, c) - stop(low, c)) * at.fract()) as u8)
}

struct Views {
    split: String,
    count: usize,
}

impl DataSet for Views {
    fn spec(&self) -> LabelSpec {
        LabelSpec {
            form: FORM.into(),
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
            ..RecordMeta::default()
        })
    }

    fn record(&self, args: &RecordArgs) -> Result<Record> {
        let index = args.index as usize;
        let (image, depths) = view(&self.split, index);
        let depths = Array::new(&[u64::from(HEIGHT), u64::from(WIDTH)], &depths)?;
        Ok(Record {
            name: format!("{}-{index}", self.split).into(),
            images: vec![ImageSource::decoded(image)].into(),
            // The default fill of a dense map, 0, means "not measured" here.
            fields: Fields::new().with("depth", Role::DENSE_MAP, depths),
            ..Record::default()
        })
    }
}

#[derive(Default)]
struct Errors(Tally);

impl Evaluator for Errors {
    fn update(&mut self, ids: &[u64], predictions: &[Fields], targets: &[Fields]) -> Result<()> {
        let measure = |p: &Fields, t: &Fields| errors(depth_of(p)?.0, depth_of(t)?.0);
        self.0.update(ids, predictions, targets, measure)
    }

    fn state(&self) -> Result<Vec<u8>> {
        self.0.state()
    }

    fn merge(&mut self, state: &[u8]) -> Result<()> {
        self.0.merge(state)
    }

    fn compute(&mut self) -> Result<Report> {
        let measured = self.0.rows().filter(|(_, row)| !row.is_empty()).count();
        let mut sums = self.0.sums().into_iter();
        let mut report = Report::default();
        for name in ["abs_rel", "rmse", "delta1"] {
            report.push(name, sums.next().unwrap_or(f64::NAN) / measured as f64);
        }
        Ok(report)
    }
}

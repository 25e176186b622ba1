//! Task `halves`: is the left or the right half of the image bright? Data, metric and drawing.

use cvhost_plugin_api::data::{
    Array, Fields, Image, ImageSource, LabelSpec, MetricInfo, OpenArgs, Problem, Record, RecordArgs,
    RecordMeta, Repair, Report, Role,
};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::sdk::{DataSet, Evaluator, EvaluatorArgs, PredictionArgs, Task};
use cvhost_plugin_api::serde_json::{Value, json};

pub struct Halves;

/// Form `halves/1`: `side` (column of one i64: 0 left, 1 right); predictions also have `score`
/// (column of one f32).
impl Task for Halves {
    fn form(&self) -> &str {
        "halves/1"
    }

    fn metrics(&self) -> Vec<MetricInfo> {
        vec![MetricInfo::higher(
            "accuracy",
            "the fraction of images whose half is correct",
        )]
    }

    /// With an annotation file, there is one image per line, which is `left` or `right`; otherwise
    /// there are `data.pictures` images.
    fn open(&self, args: &OpenArgs) -> Result<Box<dyn DataSet>> {
        let data = &args.config["data"];
        let panics = data["panic_in"] == "record";
        let seed = args.split.len() as u64;
        let sides: Vec<u32> = if args.annotations.is_empty() {
            let count = data["pictures"].as_u64().unwrap_or(32);
            (0..count).map(|index| (noise(seed, index) & 1) as u32).collect()
        } else {
            let text = read(&args.annotations)?;
            let wrong = text
                .lines()
                .enumerate()
                .filter(|(_, line)| side_of(line).is_none());
            let wrong: Vec<String> = wrong
                .map(|(number, line)| format!("line {}: `{line}` is not a side", number + 1))
                .collect();
            if !wrong.is_empty() {
                return Err(
                    PluginError::data(format!("{} has invalid lines", args.annotations))
                        .with_details(wrong)
                        .with_help("each line must be `left` or `right`"),
                );
            }
            text.lines().filter_map(side_of).collect()
        };
        Ok(Box::new(Images { sides, seed, panics }))
    }

    /// The annotation file without its invalid lines.
    fn repair(&self, args: &OpenArgs) -> Result<Repair> {
        let text = read(&args.annotations)?;
        let (mut kept, mut changes) = (String::new(), Vec::new());
        for (number, line) in text.lines().enumerate() {
            match side_of(line) {
                Some(_) => kept += &format!("{line}\n"),
                None => changes.push(format!("line {}: `{line}` left out", number + 1)),
            }
        }
        let path = format!("{}.repaired.txt", args.annotations.trim_end_matches(".txt"));
        Ok(Repair::file(path, kept.into_bytes(), changes))
    }

    fn evaluator(&self, _args: &EvaluatorArgs<'_>) -> Result<Box<dyn Evaluator>> {
        Ok(Box::new(Accuracy::default()))
    }

    fn to_json(&self, args: &PredictionArgs<'_>) -> Result<Value> {
        let spec = args.spec;
        let side = first(args.prediction, "side")?;
        let score = first(args.prediction, "score")?;
        Ok(
            json!({"predictions": [{"label": spec.name(side as i64), "label_id": side as i64, "score": score}]}),
        )
    }

    fn draw(&self, args: &PredictionArgs<'_>, canvas: &mut Image) -> Result<()> {
        let side = first(args.prediction, "side")? as u32;
        for y in 0..canvas.height {
            canvas.set_pixel(side * (canvas.width - 1), y, [255, 0, 0]);
        }
        Ok(())
    }
}

fn first(fields: &Fields, name: &str) -> Result<f64> {
    let values = fields.require(name)?.to_f64()?;
    values
        .first()
        .copied()
        .ok_or_else(|| PluginError::failed(format!("`{name}` is empty")))
}

fn read(file: &str) -> Result<String> {
    std::fs::read_to_string(file).map_err(|e| PluginError::data(format!("cannot read {file}: {e}")))
}

fn side_of(line: &str) -> Option<u32> {
    match line {
        "left" => Some(0),
        "right" => Some(1),
        _ => None,
    }
}

/// A pseudorandom number that makes each image different.
fn noise(seed: u64, index: u64) -> u64 {
    (index + 1).wrapping_mul(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)) >> 32
}

struct Images {
    sides: Vec<u32>,
    seed: u64,
    panics: bool,
}

impl DataSet for Images {
    fn spec(&self) -> LabelSpec {
        LabelSpec {
            form: "halves/1".into(),
            names: vec!["left".into(), "right".into()].into(),
            ids: vec![0, 1].into(),
            ..LabelSpec::default()
        }
    }

    fn len(&self) -> usize {
        self.sides.len()
    }

    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }

    fn meta(&self, _: usize) -> Result<RecordMeta> {
        Ok(RecordMeta {
            width: 16,
            height: 12,
            ..RecordMeta::default()
        })
    }

    fn record(&self, args: &RecordArgs) -> Result<Record> {
        let index = args.index as usize;
        assert!(!self.panics, "the toy was told to panic");
        let noise = noise(self.seed, index as u64);
        let side = self.sides[index];
        let mut image = Image::filled(16, 12, [40, 40, 60]);
        for y in 0..12 {
            for x in side * 8..side * 8 + 8 {
                image.set_pixel(x, y, [150 + (noise % 64) as u8, 180, 120]);
            }
        }
        Ok(Record {
            name: format!("image {index}").into(),
            images: vec![ImageSource::decoded(image)].into(),
            fields: Fields::new().with("side", Role::COLUMN, Array::vector(&[i64::from(side)])),
            ..Record::default()
        })
    }
}

#[derive(Default)]
struct Accuracy {
    right: u64,
    all: u64,
}

impl Evaluator for Accuracy {
    fn update(&mut self, _: &[u64], predictions: &[Fields], targets: &[Fields]) -> Result<()> {
        for (prediction, target) in predictions.iter().zip(targets) {
            self.all += 1;
            self.right += u64::from(first(prediction, "side")? == first(target, "side")?);
        }
        Ok(())
    }

    fn state(&self) -> Result<Vec<u8>> {
        Ok([self.right.to_le_bytes(), self.all.to_le_bytes()].concat())
    }

    fn merge(&mut self, state: &[u8]) -> Result<()> {
        let number = |range| {
            state
                .get(range)
                .and_then(|b: &[u8]| b.try_into().ok())
                .map(u64::from_le_bytes)
        };
        let (Some(right), Some(all)) = (number(0..8), number(8..16)) else {
            return Err(PluginError::failed("expected a state of 16 bytes"));
        };
        (self.right, self.all) = (self.right + right, self.all + all);
        Ok(())
    }

    fn compute(&mut self) -> Result<Report> {
        let mut report = Report::default();
        report.push("accuracy", self.right as f64 / self.all as f64);
        Ok(report)
    }
}

//! Task `walk-text`: synthetic lines, the character error rate, and drawings with the recognised
//! text below the image.

use super::FORM;
use super::font::{CHARSET, GLYPH_HEIGHT, GLYPH_WIDTH, draw};
use super::images::{HEIGHT, line};
use super::metric::edit_distance;
use crate::shared::tally::Tally;
use crate::shared::{canvas as drawing, options};
use cvhost_plugin_api::data::{
    Array, Fields, Image, ImageSource, LabelSpec, MetricInfo, OpenArgs, Problem, Record, RecordArgs,
    RecordMeta, Report, Role,
};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::sdk::{DataSet, Evaluator, EvaluatorArgs, PredictionArgs, Task};
use cvhost_plugin_api::serde_json::{Value, json};

pub struct Text;

impl Task for Text {
    fn form(&self) -> &str {
        FORM
    }

    fn metrics(&self) -> Vec<MetricInfo> {
        vec![
            MetricInfo::lower(
                "cer",
                "the character error rate: edits per character of the true texts",
            ),
            MetricInfo::higher("exact_match", "the fraction of texts without any error"),
        ]
    }

    fn open(&self, args: &OpenArgs) -> Result<Box<dyn DataSet>> {
        Ok(Box::new(Lines {
            split: args.split.clone(),
            count: options::images(args),
        }))
    }

    fn evaluator(&self, _args: &EvaluatorArgs<'_>) -> Result<Box<dyn Evaluator>> {
        Ok(Box::new(Errors::default()))
    }

    fn to_json(&self, args: &PredictionArgs<'_>) -> Result<Value> {
        let options = &args.options;
        let (text, score) = read(args.prediction)?;
        let enough = f64::from(score) >= options::threshold(options);
        let list: Vec<Value> = enough
            .then(|| json!({"text": text, "score": score}))
            .into_iter()
            .collect();
        Ok(json!({"predictions": list}))
    }

    /// Draws the recognised text on a strip below the image.
    fn draw(&self, args: &PredictionArgs<'_>, canvas: &mut Image) -> Result<()> {
        let options = &args.options;
        let (text, score) = read(args.prediction)?;
        let advance = (GLYPH_WIDTH + 1) * 2;
        let needed = 4 + text.chars().count() as i32 * advance;
        let strip = GLYPH_HEIGHT * 2 + 6;
        let mut both = Image::filled(
            canvas.width.max(needed as u32),
            canvas.height + strip as u32,
            [255; 3],
        );
        for y in 0..canvas.height {
            for x in 0..canvas.width {
                both.set_pixel(x, y, canvas.pixel(x, y).unwrap_or_default());
            }
        }
        let top = canvas.height as i32 + 3;
        if f64::from(score) >= options["confidence_threshold"].as_f64().unwrap_or(0.0) {
            for (i, character) in (0..).zip(text.chars()) {
                draw(&mut both, character, [3 + i * advance, top], 2, [190, 30, 30]);
            }
        }
        drawing::enlarge(&mut both, 3);
        *canvas = both;
        Ok(())
    }
}

/// The text of a prediction and its score.
fn read(prediction: &Fields) -> Result<(&str, f32)> {
    let score = prediction.require("score")?.values::<f32>()?.first().copied();
    let score = score.ok_or_else(|| PluginError::failed("the field `score` is empty"))?;
    Ok((prediction.require("text")?.as_text()?, score))
}

struct Lines {
    split: String,
    count: usize,
}

impl DataSet for Lines {
    fn spec(&self) -> LabelSpec {
        LabelSpec {
            form: FORM.into(),
            extra: json!({"charset": CHARSET}).to_string().into(),
            ..LabelSpec::default()
        }
    }

    fn len(&self) -> usize {
        self.count
    }

    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }

    fn meta(&self, index: usize) -> Result<RecordMeta> {
        let (image, _) = line(&self.split, index);
        Ok(RecordMeta {
            width: image.width,
            height: HEIGHT,
            ..RecordMeta::default()
        })
    }

    fn record(&self, args: &RecordArgs) -> Result<Record> {
        let index = args.index as usize;
        let (image, text) = line(&self.split, index);
        Ok(Record {
            name: format!("{}-{index}", self.split).into(),
            images: vec![ImageSource::decoded(image)].into(),
            fields: Fields::new().with("text", Role::TEXT, Array::text(&text)),
            ..Record::default()
        })
    }
}

/// For each record: edits, characters of the true text, whether it is correct.
#[derive(Default)]
struct Errors(Tally);

impl Evaluator for Errors {
    fn update(&mut self, ids: &[u64], predictions: &[Fields], targets: &[Fields]) -> Result<()> {
        self.0.update(ids, predictions, targets, |prediction, target| {
            let (read, wanted) = (
                prediction.require("text")?.as_text()?,
                target.require("text")?.as_text()?,
            );
            let edits = edit_distance(read, wanted);
            Ok(vec![
                edits as f64,
                wanted.chars().count() as f64,
                f64::from(u8::from(edits == 0)),
            ])
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
        report.push("cer", at(0) / at(1));
        report.push("exact_match", at(2) / self.0.rows().count() as f64);
        Ok(report)
    }
}

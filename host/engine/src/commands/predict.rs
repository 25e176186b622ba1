//! `cvhost predict`: runs a model on images and prints its predictions.

use crate::commands::prompts::Prompts;
use crate::registry::Registry;
use crate::session::{Model, Session, checkpoint_spec, find_plugins};
use crate::visual::to_json;
use cvhost::cli::{Global, PredictArgs};
use cvhost::config::{Draft, Precision};
use cvhost::error::{Error, Kind, Result};
use cvhost::interrupt;
use cvhost::output;
use cvhost::plugin_error::{checked, from_plugin};
use cvhost::progress::Pass;
use cvhost_data::{Loader, LoaderOptions, OrderOptions, Source, decode};
use cvhost_images::{EXTENSIONS, is_image};
use cvhost_plugin_api::data::{Fields, Image, ImageSource, LabelSpec, Record};
use cvhost_plugin_api::sdk::ExpandArgs;
use cvhost_report::drawings;
use cvhost_torch::inference::{Purpose, infer};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The number of images decoded together, and of records of an image predicted together.
const CHUNK: usize = 8;

pub fn predict(args: &PredictArgs, global: &Global) -> Result<()> {
    let images = list_images(&args.images)?;
    let prompts = args.prompt.as_deref().map(|file| Prompts::read(file, &images));
    let prompts = prompts.transpose()?.unwrap_or_default();
    let registry = find_plugins(global, &args.plugin_file)?;
    let mut earlier = Vec::new();
    for stage in &args.stage {
        let draft = draft(&stage.model, None, args.precision)?;
        earlier.push(Predictor::open(
            &registry,
            global,
            &stage.plugin,
            draft,
            args.stage_threshold,
        )?);
    }
    let draft = draft(&args.model, args.adapter.as_deref(), args.precision)?;
    let mut last = Predictor::open(&registry, global, &args.plugin, draft, args.threshold)?;
    let mut printer = Printer::new(args, global.json);
    let pass = Pass::new("predict", images.len() as u64, 0);
    let mut failures = Vec::new();
    for chunk in images.chunks(CHUNK) {
        if interrupt::requested() {
            return Err(interrupt::error());
        }
        for (path, image) in chunk.iter().zip(decode_all(chunk)) {
            let result = image.and_then(|image| {
                let mut prompt = prompts.of(path);
                for predictor in &mut earlier {
                    let prediction = predictor.predict(path, &image, &prompt)?;
                    prompt = predictor.line(path, &image, &prediction)?;
                }
                let prediction = last.predict(path, &image, &prompt)?;
                printer.print(&last, path, &image, &prediction)
            });
            if let Err(e) = result {
                if !matches!(e.kind, Kind::Input) {
                    return Err(e);
                }
                printer.failed(path, &e);
                failures.push(format!("{}: {e}", path.display()));
            }
            pass.step(String::new);
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::input(format!(
        "{} of {} images could not be read",
        failures.len(),
        images.len()
    ))
    .with_details(failures))
}

/// Expands the images of a command line: files as given, folders to all images in them recursively,
/// sorted.
fn list_images(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = images.len();
            walk(path, &mut images)?;
            if images.len() == before {
                return Err(Error::input(format!("{} has no images", path.display()))
                    .with_expected(format!("files ending in {}", EXTENSIONS.join(", "))));
            }
        } else if path.exists() {
            images.push(path.clone());
        } else {
            return Err(Error::input(format!("{} does not exist", path.display()))
                .with_expected("an image, or a folder of images"));
        }
    }
    Ok(images)
}

fn walk(folder: &Path, images: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io(Kind::Input, "list", folder, &e))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        // A link to a folder could form a cycle.
        if path.is_dir() && !path.is_symlink() {
            walk(&path, images)?;
        } else if path
            .file_name()
            .is_some_and(|name| is_image(&name.to_string_lossy()))
        {
            images.push(path);
        }
    }
    Ok(())
}

/// Decodes a few images in parallel.
fn decode_all(paths: &[PathBuf]) -> Vec<Result<Image>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = paths
            .iter()
            .map(|path| scope.spawn(move || decode(&source_of(path)?)))
            .collect();
        threads
            .into_iter()
            .map(|t| {
                t.join()
                    .unwrap_or_else(|_| Err(Error::failed("the image decoder panicked")))
            })
            .collect()
    })
}

/// The configuration of a prediction: the model folder or hub id, the number format, and the
/// adapter, if one is given.
fn draft(model: &str, adapter: Option<&str>, precision: Precision) -> Result<Draft> {
    let mut draft = Draft::empty();
    draft.set_value("model.model_name", &json!(model))?;
    draft.set_value("training.precision", &json!(precision))?;
    if let Some(name) = adapter {
        draft.set_value("model.adapter", &json!(name))?;
    }
    Ok(draft)
}

/// The image at a path. A path that is not valid UTF-8 can't be passed to the decoder, so the file
/// is read here.
fn source_of(path: &Path) -> Result<ImageSource> {
    match path.to_str() {
        Some(text) => Ok(ImageSource::file(text)),
        None => std::fs::read(path)
            .map(ImageSource::encoded)
            .map_err(|e| Error::io(Kind::Input, "read", path, &e)),
    }
}

/// A model ready for prediction.
struct Predictor {
    session: Session,
    model: Model,
    spec: LabelSpec,
    threshold: f64,
}

impl Predictor {
    fn open(
        registry: &Arc<Registry>,
        global: &Global,
        plugin: &str,
        draft: Draft,
        threshold: f64,
    ) -> Result<Self> {
        let session = Session::with_plugins(Arc::clone(registry), global, draft, Some(plugin))?;
        let folder = session.model_folder(&session.loaded.config.model.model_name, true)?;
        let spec = checkpoint_spec(&checked(session.task.form())?, &folder)?;
        let model = session.trained_model(&folder, &spec)?;
        Ok(Predictor {
            session,
            model,
            spec,
            threshold,
        })
    }

    /// All predictions for an image. A task may expand it into several records, or none.
    fn predict(&mut self, path: &Path, image: &Image, prompt: &Value) -> Result<Fields> {
        let args = ExpandArgs::new(image, prompt.clone(), &self.spec);
        let expanded = args.lend(|args| checked(self.session.task.expand(args)))?;
        let mut records: Vec<Record> = expanded.into_vec();
        for record in &mut records {
            if record.images.is_empty() {
                record.images.push(ImageSource::decoded(image.clone()));
            }
            if record.name.is_empty() {
                record.name = path.display().to_string().into();
            }
        }
        let source: Arc<dyn Source> = Arc::new(records);
        let options = LoaderOptions {
            order: OrderOptions {
                batch_size: CHUNK,
                ..OrderOptions::default()
            },
            predict: true,
            ..LoaderOptions::default()
        };
        let loader = Loader::new(source, Arc::clone(&self.model.input), options)?;
        let finish = self.session.finish_options(self.threshold);
        let network = &mut self.model.network;
        let mut all: Option<Fields> = None;
        infer(
            network,
            loader.epoch(0, 0),
            Purpose::Predict,
            &finish,
            |inferred| {
                for prediction in inferred.predictions {
                    all = Some(match all.take() {
                        None => prediction,
                        Some(before) => before.joined(&prediction).map_err(from_plugin)?,
                    });
                }
                Ok(())
            },
        )?;
        Ok(all.unwrap_or_default())
    }

    /// The JSON of an image that is printed, and passed as prompt to a later stage.
    fn line(&self, path: &Path, image: &Image, prediction: &Fields) -> Result<Value> {
        let mut line = json!({"image": path.to_string_lossy(), "width": image.width, "height": image.height});
        let more = to_json(&self.session, prediction, &self.spec, self.threshold)?;
        if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
            line.extend(more);
        }
        Ok(line)
    }
}

/// Prints and draws predictions.
struct Printer<'a> {
    json: bool,
    out: Option<&'a Path>,
    options: Value,
    names: drawings::FileNames,
}

impl<'a> Printer<'a> {
    fn new(args: &'a PredictArgs, json: bool) -> Self {
        Printer {
            json,
            out: args.out.as_deref(),
            options: json!({"confidence_threshold": args.threshold}),
            names: drawings::FileNames::default(),
        }
    }

    fn print(
        &mut self,
        predictor: &Predictor,
        path: &Path,
        image: &Image,
        prediction: &Fields,
    ) -> Result<()> {
        let mut fields = predictor.line(path, image, prediction)?;
        if let Some(out) = self.out {
            let target = out.join(self.names.unused(path));
            let source = ImageSource::decoded(image.clone());
            let (task, spec) = (&predictor.session.task, &predictor.spec);
            let files = drawings::draw(task, prediction, spec, &source, &self.options, &target)?.files;
            fields["drawn"] = json!(target.to_string_lossy());
            if !files.is_empty() {
                fields["files"] = files.iter().map(|f| f.to_string_lossy()).collect();
            }
        }
        if self.json {
            output::event("prediction", fields);
        } else {
            output::line(&as_text(&fields));
        }
        Ok(())
    }

    fn failed(&self, path: &Path, error: &Error) {
        if self.json {
            output::event(
                "picture_failed",
                json!({"image": path.to_string_lossy(), "message": error.to_string()}),
            );
        }
    }
}

/// Formats the predictions of an image as text: a line for the image, then one per prediction.
fn as_text(fields: &Value) -> String {
    let image = fields["image"].as_str().unwrap_or_default();
    let mut text = format!("{image}  {}x{}", fields["width"], fields["height"]);
    if let Some(drawn) = fields["drawn"].as_str() {
        text += &format!("  drawn {drawn}");
    }
    for file in fields["files"].as_array().into_iter().flatten() {
        text += &format!("  file {}", file.as_str().unwrap_or_default());
    }
    for prediction in fields["predictions"].as_array().into_iter().flatten() {
        let values = prediction
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| match value {
                Value::String(s) => s.clone(),
                Value::Number(n) if n.is_f64() => format!("{key} {:.3}", n.as_f64().unwrap_or(f64::NAN)),
                Value::Array(list) if list.iter().all(Value::is_number) => {
                    let numbers: Vec<String> = list
                        .iter()
                        .map(|v| format!("{:.1}", v.as_f64().unwrap_or(f64::NAN)))
                        .collect();
                    format!("{key} [{}]", numbers.join(", "))
                }
                other => format!("{key} {other}"),
            });
        text += &format!("\n  {}", values.collect::<Vec<_>>().join("  "));
    }
    text
}

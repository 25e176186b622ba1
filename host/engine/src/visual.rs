//! Draws the first images of an evaluation, as configured in `output.visualization`.

use crate::session::Session;
use cvhost::config::Origin;
use cvhost::error::Result;
use cvhost::plugin_error::checked;
use cvhost_data::Source;
use cvhost_plugin_api::data::{Fields, ImageSource, LabelSpec};
use cvhost_plugin_api::sdk::PredictionArgs;
use cvhost_report::drawings;
use cvhost_train::events::{Artifact, ArtifactKind, DrawnImage, RunEvent};
use cvhost_train::observers::Observers;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Draws images during an evaluation.
pub struct Gallery<'a> {
    session: &'a Session,
    spec: &'a LabelSpec,
    source: &'a dyn Source,
    /// The target folder; `None` draws nothing.
    folder: Option<PathBuf>,
    options: Value,
    left: u32,
    drawn: u32,
    names: drawings::FileNames,
    /// The image whose records are still arriving.
    open: Option<Open>,
    observed: Option<Observed<'a>>,
}

/// The observers of drawn images.
struct Observed<'a> {
    observers: &'a mut Observers,
    /// Optimizer steps of the weights used for prediction.
    step: u64,
}

/// An image with the predictions of its records so far.
struct Open {
    source: ImageSource,
    /// Its name in messages.
    name: String,
    prediction: Fields,
}

impl<'a> Gallery<'a> {
    pub fn new(
        session: &'a Session,
        spec: &'a LabelSpec,
        source: &'a dyn Source,
        folder: Option<PathBuf>,
    ) -> Self {
        let visual = session.loaded.config.output.visualization;
        Gallery {
            session,
            spec,
            source,
            folder: folder.filter(|_| visual.save_images),
            options: draw_options(session),
            left: visual.max_images,
            drawn: 0,
            names: drawings::FileNames::default(),
            open: None,
            observed: None,
        }
    }

    /// Emits an event for each drawn image, and for each prediction file next to it. `step` is the
    /// number of optimizer steps of the weights used for prediction.
    #[must_use]
    pub fn observed_by(mut self, observers: &'a mut Observers, step: u64) -> Self {
        self.observed = Some(Observed { observers, step });
        self
    }

    /// Adds the prediction of a record. Consecutive records of the same image (for example crops
    /// created by the task) are drawn together.
    pub fn add(&mut self, index: u64, prediction: &Fields) -> Result<()> {
        if self.folder.is_none() || (self.left == 0 && self.open.is_none()) {
            return Ok(());
        }
        let record = self.source.record_of(index)?;
        let Some(source) = record.images.into_iter().next() else {
            return Ok(());
        };
        match &mut self.open {
            Some(open) if same_image(&open.source, &source) => match open.prediction.joined(prediction) {
                Ok(joined) => open.prediction = joined,
                Err(e) => tracing::warn!("{}: its predictions can't be drawn together: {e}", open.name),
            },
            _ => {
                self.draw_open()?;
                if self.left > 0 {
                    self.left -= 1;
                    let (name, prediction) = (record.name.into_string(), prediction.clone());
                    self.open = Some(Open {
                        source,
                        name: if name.is_empty() {
                            format!("record-{index}")
                        } else {
                            name
                        },
                        prediction,
                    });
                }
            }
        }
        Ok(())
    }

    /// Draws the completed image. A failure is only a warning, since the metrics matter more.
    fn draw_open(&mut self) -> Result<()> {
        let (Some(open), Some(folder)) = (self.open.take(), &self.folder) else {
            return Ok(());
        };
        let original = if open.source.path.is_empty() {
            open.name.as_str()
        } else {
            open.source.path.as_str()
        };
        let path = folder.join(self.names.unused(Path::new(original)));
        match drawings::draw(
            &self.session.task,
            &open.prediction,
            self.spec,
            &open.source,
            &self.options,
            &path,
        ) {
            Ok(drawn) => {
                self.drawn += 1;
                self.observed
                    .as_mut()
                    .map_or(Ok(()), |observed| observed.emit(drawn, path))
            }
            Err(e) => {
                tracing::warn!("{}: {e}", open.name);
                Ok(())
            }
        }
    }

    /// Draws the last image, and returns the number of drawn images.
    pub fn finish(mut self) -> Result<u32> {
        self.draw_open()?;
        Ok(self.drawn)
    }
}

impl Observed<'_> {
    fn emit(&mut self, drawn: drawings::Drawn, path: PathBuf) -> Result<()> {
        let step = self.step;
        self.observers.emit(&RunEvent::Image(DrawnImage {
            name: file_name(&path),
            step,
            image: drawn.image,
            path,
        }))?;
        drawn.files.into_iter().try_for_each(|path| {
            self.observers.emit(&RunEvent::Artifact(Artifact {
                name: file_name(&path),
                step,
                path,
                kind: ArtifactKind::File,
            }))
        })
    }
}

/// The last component of a path.
pub fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Whether two records refer to the same image: the same file or, without a file, equal contents.
fn same_image(a: &ImageSource, b: &ImageSource) -> bool {
    if a.path.is_empty() {
        a == b
    } else {
        a.path == b.path
    }
}

/// The options of a task's `draw`, from `output.visualization`. Its threshold falls back to that of
/// the model.
fn draw_options(session: &Session) -> Value {
    let loaded = &session.loaded;
    let visual = loaded.config.output.visualization;
    let own = loaded
        .document
        .pointer("/model/confidence_threshold")
        .and_then(Value::as_f64);
    let threshold = match (loaded.origin("output.visualization.confidence_threshold"), own) {
        (None | Some(Origin::Default), Some(own)) => own,
        _ => visual.confidence_threshold,
    };
    let mut options = session.declared_options();
    options["confidence_threshold"] = json!(threshold);
    options["max_boxes"] = json!(visual.max_boxes);
    options
}

/// The task's JSON for a prediction, without objects that score below `threshold`.
pub fn to_json(session: &Session, prediction: &Fields, spec: &LabelSpec, threshold: f64) -> Result<Value> {
    let args = PredictionArgs::new(prediction, spec, session.finish_options(threshold));
    let text = args.lend(|args| checked(session.task.to_json(args)))?;
    serde_json::from_str(&text).map_err(|e| {
        cvhost::error::Error::failed(format!("the task's prediction is not valid JSON: {e}"))
            .with_help("this is a bug in the task plugin; report it to its authors")
    })
}

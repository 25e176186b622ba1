//! The drawn pictures of an evaluation: the first so many, as `output.visualization` says.

use crate::data::Source;
use crate::error::checked;
use crate::pictures;
use crate::session::Session;
use cvhost::config::Origin;
use cvhost::error::Result;
use cvhost_plugin_api::abi::DataSetBox;
use cvhost_plugin_api::data::{Fields, LabelSpec};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Draws pictures while an evaluation goes on.
pub struct Gallery<'a> {
    session: &'a Session,
    spec: &'a LabelSpec,
    data_set: &'a DataSetBox,
    /// Where to; none draws nothing.
    folder: Option<PathBuf>,
    options: Value,
    left: u32,
    drawn: u32,
    names: pictures::FileNames,
}

impl<'a> Gallery<'a> {
    pub fn new(
        session: &'a Session,
        spec: &'a LabelSpec,
        data_set: &'a DataSetBox,
        folder: Option<PathBuf>,
    ) -> Self {
        let visual = session.loaded.config.output.visualization;
        Gallery {
            session,
            spec,
            data_set,
            folder: folder.filter(|_| visual.save_images),
            options: draw_options(session),
            left: visual.max_images,
            drawn: 0,
            names: pictures::FileNames::default(),
        }
    }

    /// Draws the picture of a record. One that can't be drawn is a warning: the metrics matter more.
    pub fn add(&mut self, index: u64, prediction: &Fields) -> Result<()> {
        let Some(folder) = self.folder.as_ref().filter(|_| self.left > 0) else {
            return Ok(());
        };
        self.left -= 1;
        let record = Source::record(self.data_set, index as usize)?;
        let Some(source) = record.pictures.first() else {
            return Ok(());
        };
        let unnamed = format!("record-{index}");
        let original = if source.path.is_empty() {
            unnamed.as_str()
        } else {
            source.path.as_str()
        };
        let path = folder.join(self.names.unused(std::path::Path::new(original)));
        match pictures::draw(
            &self.session.task,
            prediction,
            self.spec,
            source,
            &self.options,
            &path,
        ) {
            Ok(()) => self.drawn += 1,
            Err(e) => tracing::warn!("{}: {e}", record.name),
        }
        Ok(())
    }

    /// How many pictures were drawn.
    pub fn finish(self) -> u32 {
        self.drawn
    }
}

/// What a task's `draw` is asked for: `output.visualization`, whose threshold falls back to the model's own.
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
    json!({"confidence_threshold": threshold, "max_boxes": visual.max_boxes})
}

/// The task's JSON of one prediction.
pub fn to_json(session: &Session, prediction: &Fields, spec: &LabelSpec) -> Result<Value> {
    let text = checked(session.task.to_json(prediction, spec))?;
    serde_json::from_str(&text).map_err(|e| {
        cvhost::error::Error::failed(format!("the task's prediction is not valid JSON: {e}"))
            .with_help("this is a fault of the task plugin; tell its authors")
    })
}

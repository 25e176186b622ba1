//! The logger implementation.

use crate::artifacts;
use crate::files::{create_folder, io_error, safe_name, write_json};
use crate::lines::LineFile;
use cvhost_plugin_api::data::{Image, LogItem, LogKind, RunInfo, Status};
use cvhost_plugin_api::sdk::Logger;
use cvhost_plugin_api::{PluginError, Result};
use image::{ColorType, ImageFormat};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The logger; a run is active after [`Logger::start`].
#[derive(Default)]
pub struct JsonlLogger {
    run: Option<Run>,
}

struct Run {
    folder: PathBuf,
    name: String,
    started_ms: u64,
    params: Map<String, Value>,
    tags: Map<String, Value>,
    metrics: LineFile,
    artifacts: LineFile,
}

impl JsonlLogger {
    fn run(&mut self) -> Result<&mut Run> {
        self.run.as_mut().ok_or_else(not_started)
    }
}

fn not_started() -> PluginError {
    PluginError::failed("the logger has no run; call `start` first")
}

impl Logger for JsonlLogger {
    fn start(&mut self, info: &RunInfo, resume: &Value) -> Result<()> {
        let folder = PathBuf::from(&info.folder);
        create_folder(&folder)?;
        // Keeps all lines of a logger that is missing in the checkpoint, and none for a new run.
        let keep = |key: &str| {
            resume
                .as_object()
                .map(|state| state.get(key).and_then(Value::as_u64).unwrap_or(0))
        };
        let run = Run {
            name: info.name.clone(),
            started_ms: resume["started_ms"].as_u64().unwrap_or_else(now_ms),
            params: object(&info.parameters),
            tags: object(&resume["tags"]),
            metrics: LineFile::open(&folder.join("metrics.jsonl"), keep("metrics_bytes"))?,
            artifacts: LineFile::open(&folder.join("artifacts.jsonl"), keep("artifacts_bytes"))?,
            folder,
        };
        run.write_params()?;
        run.write_status("running", None)?;
        self.run = Some(run);
        Ok(())
    }

    fn log(&mut self, items: &[LogItem]) -> Result<()> {
        let run = self.run()?;
        let mut metrics = Vec::new();
        for item in items {
            match item.kind {
                LogKind::METRICS => metrics.push(metrics_line(item)),
                LogKind::PARAMETERS => {
                    run.params.extend(parsed_object(item)?);
                    run.write_params()?;
                }
                LogKind::TAGS => {
                    run.tags.extend(parsed_object(item)?);
                    write_json(&run.folder.join("tags.json"), &Value::Object(run.tags.clone()))?;
                }
                LogKind::IMAGE => run.add_image(item)?,
                LogKind::ARTIFACT => run.add_artifact(item)?,
                _ => {} // a kind from a newer host
            }
        }
        run.metrics.append(&metrics)
    }

    /// Saves the file lengths; anything written later isn't part of the checkpoint with this state.
    fn state(&self) -> Result<Value> {
        let run = self.run.as_ref().ok_or_else(not_started)?;
        run.metrics.sync()?;
        run.artifacts.sync()?;
        Ok(json!({
            "metrics_bytes": run.metrics.bytes(),
            "artifacts_bytes": run.artifacts.bytes(),
            "started_ms": run.started_ms,
            "tags": run.tags,
        }))
    }

    fn shutdown(&mut self, _timeout: Duration, status: Status) -> Result<()> {
        let Some(run) = self.run.take() else { return Ok(()) };
        let status = match status {
            Status::OK => "ok",
            Status::INTERRUPTED => "interrupted",
            _ => "failed",
        };
        run.write_status(status, Some(now_ms()))?;
        run.metrics.sync()?;
        run.artifacts.sync()
    }
}

impl Run {
    fn write_params(&self) -> Result<()> {
        write_json(
            &self.folder.join("params.json"),
            &Value::Object(self.params.clone()),
        )
    }

    /// Lists an image that already exists as a file in the run folder, and writes any other.
    fn add_image(&mut self, item: &LogItem) -> Result<()> {
        let path = Path::new(item.path.as_str());
        if !item.path.is_empty()
            && path.is_file()
            && let Some(path) = artifacts::inside(&self.folder, path)
        {
            return self.list(item, &path);
        }
        match item.image.as_ref() {
            Some(image) => {
                let file = format!("{}-{}.png", safe_name(&item.name), item.step);
                write_image(&self.folder.join("pictures").join(file), image)
            }
            None => Ok(()),
        }
    }

    /// Lists a file or folder, after copying it if it is outside of the run folder. Checkpoints are
    /// never copied: they are large and may no longer exist.
    fn add_artifact(&mut self, item: &LogItem) -> Result<()> {
        let path = Path::new(item.path.as_str());
        let about: Value = serde_json::from_str(item.json.as_str()).unwrap_or_default();
        let listed = if about["kind"] == "checkpoint" {
            artifacts::inside(&self.folder, path).unwrap_or_else(|| item.path.to_string())
        } else {
            artifacts::bring_in(&self.folder, path, &item.name)?
        };
        self.list(item, &listed)
    }

    /// Appends a line for a file.
    fn list(&mut self, item: &LogItem, path: &str) -> Result<()> {
        self.artifacts.append(&[json!({
            "name": item.name.as_str(),
            "path": path,
            "step": item.step,
            "time_ms": item.time_ms,
        })])
    }

    fn write_status(&self, status: &str, ended_ms: Option<u64>) -> Result<()> {
        let mut content = json!({"status": status, "name": self.name, "started_ms": self.started_ms});
        if let Some(ended_ms) = ended_ms {
            content["ended_ms"] = ended_ms.into();
        }
        write_json(&self.folder.join("status.json"), &content)
    }
}

/// Milliseconds since the Unix epoch.
fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64)
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn parsed_object(item: &LogItem) -> Result<Map<String, Value>> {
    match serde_json::from_str(item.json.as_str()) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(PluginError::failed(format!(
            "a log item of kind {} is not a JSON object: {}",
            item.kind.0, item.json
        ))),
    }
}

/// `{"step", "time_ms", names and values}`. Step and time take precedence over metrics with the
/// same name.
fn metrics_line(item: &LogItem) -> Value {
    let mut line = Map::new();
    line.insert("step".to_owned(), item.step.into());
    line.insert("time_ms".to_owned(), item.time_ms.into());
    for scalar in &item.values {
        line.entry(scalar.name.to_string()).or_insert(json!(scalar.value));
    }
    Value::Object(line)
}

fn write_image(path: &Path, image: &Image) -> Result<()> {
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    let expected = image.width as usize * image.height as usize * 3;
    if image.pixels.len() != expected || expected == 0 {
        return Err(PluginError::failed(format!(
            "{image:?} has {} bytes, expected {expected}",
            image.pixels.len()
        )));
    }
    let (width, height) = (image.width, image.height);
    image::save_buffer_with_format(
        path,
        &image.pixels,
        width,
        height,
        ColorType::Rgb8,
        ImageFormat::Png,
    )
    .map_err(|e| io_error("write the image", path, &std::io::Error::other(e)))
}

#[cfg(test)]
#[path = "logger_tests.rs"]
mod tests;

//! What loggers are given. Every [`LogItem`] of the host is built here.

use crate::events::{ArtifactKind, DrawnImage};
use cvhost_plugin_api::data::{LogItem, LogKind, Optional, Scalar};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

pub fn metrics(step: u64, values: &Map<String, Value>) -> LogItem {
    let values = values
        .iter()
        .filter_map(|(name, value)| Some(Scalar::new(name.as_str(), value.as_f64()?)));
    LogItem {
        values: values.collect(),
        ..item(LogKind::METRICS, step, "")
    }
}

pub fn parameters(values: &Value) -> LogItem {
    with_json(item(LogKind::PARAMETERS, 0, ""), values)
}

pub fn tags(tags: &Map<String, Value>) -> LogItem {
    with_json(item(LogKind::TAGS, 0, ""), &Value::Object(tags.clone()))
}

/// The file or folder at `path`. The item's JSON says what it is: `{"kind": "checkpoint"}` for one
/// that may be removed later and is better referred to than copied, `{"kind": "file"}` otherwise.
pub fn artifact(step: u64, name: &str, path: &Path, kind: ArtifactKind) -> LogItem {
    let kind = match kind {
        ArtifactKind::Checkpoint => "checkpoint",
        ArtifactKind::File => "file",
    };
    LogItem {
        path: path.display().to_string().into(),
        ..with_json(item(LogKind::ARTIFACT, step, name), &json!({"kind": kind}))
    }
}

/// The pixels, and the path of the file that holds them already.
pub fn image(drawn: &DrawnImage) -> LogItem {
    LogItem {
        path: drawn.path.display().to_string().into(),
        image: Optional::some(drawn.image.clone()),
        ..item(LogKind::IMAGE, drawn.step, &drawn.name)
    }
}

fn with_json(item: LogItem, value: &Value) -> LogItem {
    LogItem {
        json: value.to_string().into(),
        ..item
    }
}

fn item(kind: LogKind, step: u64, name: &str) -> LogItem {
    let time_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64);
    LogItem::new(kind, step, time_ms, name)
}

//! What loggers are given. Every [`LogItem`] of the host is built here.

use crate::events::{ArtifactKind, DrawnImage};
use cvhost_plugin_api::abi_stable::std_types::{RNone, RSome};
use cvhost_plugin_api::data::{LogItem, LogKind};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

pub fn metrics(step: u64, values: &Map<String, Value>) -> LogItem {
    with_json(LogKind::METRICS, step, &Value::Object(values.clone()))
}

pub fn parameters(values: &Value) -> LogItem {
    with_json(LogKind::PARAMETERS, 0, values)
}

pub fn tags(tags: &Map<String, Value>) -> LogItem {
    with_json(LogKind::TAGS, 0, &Value::Object(tags.clone()))
}

/// The file or folder at `path`. The item's JSON says what it is: `{"kind": "checkpoint"}` for one
/// that may be removed later and is better referred to than copied, `{"kind": "file"}` otherwise.
pub fn artifact(step: u64, name: &str, path: &Path, kind: ArtifactKind) -> LogItem {
    let kind = match kind {
        ArtifactKind::Checkpoint => "checkpoint",
        ArtifactKind::File => "file",
    };
    LogItem {
        name: name.into(),
        path: path.display().to_string().into(),
        ..with_json(LogKind::ARTIFACT, step, &json!({"kind": kind}))
    }
}

/// The pixels, and the path of the file that holds them already.
pub fn image(drawn: &DrawnImage) -> LogItem {
    LogItem {
        name: drawn.name.as_str().into(),
        path: drawn.path.display().to_string().into(),
        image: RSome(drawn.image.clone()),
        ..with_json(LogKind::IMAGE, drawn.step, &json!({}))
    }
}

fn with_json(kind: LogKind, step: u64, value: &Value) -> LogItem {
    let time_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64);
    LogItem {
        kind,
        step,
        time_ms,
        name: Default::default(),
        json: value.to_string().into(),
        path: Default::default(),
        image: RNone,
    }
}

//! What loggers receive.

use super::containers::{List, Optional, Text};
use super::image::Image;
use super::report::Scalar;
use abi_stable::StableAbi;
use serde_json::Value;

/// What a logger starts with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunInfo {
    /// The run's own name.
    pub name: String,
    /// The run folder, absolute.
    pub folder: String,
    /// The logger's own section of the configuration.
    pub config: Value,
    /// The whole resolved configuration, with secrets removed.
    pub parameters: Value,
    /// What a newer host says beyond this version; null for nothing.
    pub extra: Value,
}

/// The kind of a log item, which fixes the fields that it uses. A logger ignores kinds that it
/// doesn't know.
#[repr(transparent)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogKind(pub u32);

impl LogKind {
    /// `json`: an object of parameters.
    pub const PARAMETERS: Self = Self(1);
    /// `values`: metrics at `step`.
    pub const METRICS: Self = Self(2);
    /// `image` under `name`, at `step`.
    pub const IMAGE: Self = Self(3);
    /// The file or folder at `path`, under `name`.
    pub const ARTIFACT: Self = Self(4);
    /// `json`: an object of text tags.
    pub const TAGS: Self = Self(5);
    /// A histogram `name` at `step`. `json`: `{"edges": [E + 1 numbers], "counts": [E numbers]}`.
    pub const HISTOGRAM: Self = Self(6);
    /// A table `name` at `step`. `json`: `{"columns": [texts], "rows": [[texts]]}`.
    pub const TABLE: Self = Self(7);
    /// A curve `name` at `step`. `json`: `{"x_label", "y_label", "x": [numbers], "y": [numbers]}`.
    pub const CURVE: Self = Self(8);
    /// A text `name` at `step`. `json`: `{"text": "…"}`.
    pub const TEXT: Self = Self(9);
    /// A model: the checkpoint folder at `path`, under `name`. `json`: `{"metric", "value", "best"}`.
    pub const MODEL: Self = Self(10);
}

/// One item to log.
#[repr(C)]
#[derive(StableAbi, Debug, Clone)]
pub struct LogItem {
    pub kind: LogKind,
    /// Optimizer steps so far.
    pub step: u64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    pub name: Text,
    /// Metrics, NaN and infinities included.
    pub values: List<Scalar>,
    /// The payload of kinds that have one, as JSON text; see [`LogKind`].
    pub json: Text,
    /// A file or folder that is there and stays unchanged until `Logger::log` returns. A logger that
    /// wants it later copies it.
    pub path: Text,
    pub image: Optional<Image>,
    /// More about the item, as JSON text; empty for none.
    pub extra: Text,
}

impl LogItem {
    /// An item without content.
    pub fn new(kind: LogKind, step: u64, time_ms: u64, name: &str) -> Self {
        LogItem {
            kind,
            step,
            time_ms,
            name: name.into(),
            values: List::new(),
            json: Text::new(),
            path: Text::new(),
            image: Optional::none(),
            extra: Text::new(),
        }
    }

    /// The payload; null where there is none.
    pub fn payload(&self) -> Value {
        serde_json::from_str(&self.json).unwrap_or_default()
    }
}

/// How a run ended.
#[repr(transparent)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u32);

impl Status {
    pub const OK: Self = Self(1);
    pub const FAILED: Self = Self(2);
    pub const INTERRUPTED: Self = Self(3);
}

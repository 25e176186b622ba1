//! What loggers are told.

use super::image::Image;
use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RString};

/// What a logger starts with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunInfo {
    /// The run's own name.
    pub name: String,
    /// The run folder, absolute.
    pub folder: String,
    /// The logger's own section of the configuration.
    pub config: serde_json::Value,
    /// The whole resolved configuration, secrets blanked.
    pub parameters: serde_json::Value,
}

/// The kind of a log item.
#[repr(transparent)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogKind(pub u32);

impl LogKind {
    /// `json`: an object of parameters.
    pub const PARAMETERS: Self = Self(1);
    /// `json`: an object of numbers, at `step`.
    pub const METRICS: Self = Self(2);
    /// `image` under `name`, at `step`.
    pub const IMAGE: Self = Self(3);
    /// The file or folder at `path`, under `name`.
    pub const ARTIFACT: Self = Self(4);
    /// `json`: an object of text tags.
    pub const TAGS: Self = Self(5);
}

/// One thing to log.
#[repr(C)]
#[derive(StableAbi, Debug, Clone)]
pub struct LogItem {
    pub kind: LogKind,
    /// Optimizer steps so far.
    pub step: u64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    pub name: RString,
    pub json: RString,
    pub path: RString,
    pub image: ROption<Image>,
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

//! The error that crosses between host and plugin.

use crate::data::{List, Text};
use abi_stable::StableAbi;
use abi_stable::std_types::RResult;
use std::fmt;
use std::path::Path;

/// The subject of an error; the host derives the exit code and advice from it.
#[repr(transparent)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorKind(pub u32);

impl ErrorKind {
    /// A value in the configuration.
    pub const CONFIG: Self = Self(1);
    /// Annotations or images.
    pub const DATA: Self = Self(2);
    /// A checkpoint's configuration or weights.
    pub const CHECKPOINT: Self = Self(3);
    /// Something that the component doesn't support.
    pub const UNSUPPORTED: Self = Self(4);
    /// Anything else.
    pub const FAILED: Self = Self(5);
    /// A panic that was caught in the plugin; the instance is not called again.
    pub const PANIC: Self = Self(6);
    /// Something missing from this installation, such as another plugin.
    pub const ENVIRONMENT: Self = Self(7);
}

/// What is wrong, where, and what to do. The SDK adds plugin and method where it caught a panic; the
/// host adds which component it called.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq)]
pub struct PluginError {
    pub kind: ErrorKind,
    pub message: Text,
    /// What to do about it; may be empty.
    pub help: Text,
    /// For a configuration error: the path of the key, such as `model.dropout`; may be empty.
    pub key: Text,
    /// Several problems of one kind, one line each.
    pub details: List<Text>,
    /// More about the error, as JSON text; empty for none.
    pub extra: Text,
}

/// What every call across the interface returns.
#[doc(hidden)]
pub type AbiResult<T> = RResult<T, PluginError>;
/// What an author's method returns.
pub type Result<T, E = PluginError> = std::result::Result<T, E>;

impl PluginError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        PluginError {
            kind,
            message: message.into().into(),
            help: Text::new(),
            key: Text::new(),
            details: List::new(),
            extra: Text::new(),
        }
    }

    /// An error about the key at `key`, such as `model.dropout`; the host points at its line.
    pub fn config(key: impl Into<String>, message: impl Into<String>) -> Self {
        let mut error = Self::new(ErrorKind::CONFIG, message);
        error.key = key.into().into();
        error
    }

    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::DATA, message)
    }

    pub fn checkpoint(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::CHECKPOINT, message)
    }

    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::UNSUPPORTED, message)
    }

    pub fn environment(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::ENVIRONMENT, message)
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::FAILED, message)
    }

    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into().into();
        self
    }

    #[must_use]
    pub fn with_details<S: Into<String>>(mut self, details: impl IntoIterator<Item = S>) -> Self {
        self.details = details.into_iter().map(|d| Text::from(d.into())).collect();
        self
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        for detail in &self.details {
            write!(f, "\n  - {detail}")?;
        }
        if !self.help.is_empty() {
            write!(f, "\nhelp: {}", self.help)?;
        }
        Ok(())
    }
}

impl std::error::Error for PluginError {}

impl PluginError {
    /// An error of input or output at `path`, such as `cannot read labels.csv: not found`. `doing` is
    /// a verb: `read`, `write`, `list`.
    pub fn io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::failed(format!("cannot {doing} {}: {error}", path.display()))
    }
}

impl From<std::io::Error> for PluginError {
    /// Without the file's name, which [`PluginError::io`] adds.
    fn from(error: std::io::Error) -> Self {
        PluginError::failed(error.to_string())
    }
}

impl From<serde_json::Error> for PluginError {
    fn from(error: serde_json::Error) -> Self {
        PluginError::failed(format!("JSON: {error}"))
    }
}

#[cfg(feature = "tch")]
impl From<tch::TchError> for PluginError {
    fn from(error: tch::TchError) -> Self {
        // libtorch appends its C++ stack; the first line says what is wrong.
        let text = error.to_string();
        PluginError::failed(format!("libtorch: {}", text.lines().next().unwrap_or_default()))
    }
}

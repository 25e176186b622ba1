//! Converts plugin errors to host errors.

use crate::config::Loaded;
use crate::error::{Error, Kind, Result};
use cvhost_plugin_api::error::{AbiResult, ErrorKind, PluginError};

/// Converts a plugin's error to the host's.
pub fn from_plugin(error: PluginError) -> Error {
    let kind = match error.kind {
        ErrorKind::CONFIG | ErrorKind::UNSUPPORTED => Kind::Usage,
        ErrorKind::DATA | ErrorKind::CHECKPOINT => Kind::Input,
        ErrorKind::ENVIRONMENT => Kind::Environment,
        _ => Kind::Failed,
    };
    let what = if error.key.is_empty() {
        error.message.into_string()
    } else {
        format!("`{}`: {}", error.key, error.message)
    };
    let details = error.details.into_iter().map(String::from).collect();
    let result = Error::new(kind, what).with_details(details);
    if error.help.is_empty() {
        result
    } else {
        result.with_help(error.help.into_string())
    }
}

/// The result of a plugin call with its error converted by [`from_plugin`].
pub fn checked<T>(result: AbiResult<T>) -> Result<T> {
    result.into_result().map_err(from_plugin)
}

/// Like [`checked`], but an error about a configuration key points at its line.
pub fn checked_with<T>(config: &Loaded, result: AbiResult<T>) -> Result<T> {
    result.into_result().map_err(|error| {
        if error.key.is_empty() {
            return from_plugin(error);
        }
        let mut placed = config.error_at(&error.key, error.message.as_str());
        placed.details = error.details.iter().map(ToString::to_string).collect();
        if error.help.is_empty() {
            placed
        } else {
            placed.with_help(error.help.as_str())
        }
    })
}

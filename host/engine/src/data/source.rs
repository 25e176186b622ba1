//! Where records come from: a plugin's data set, or a list.

use cvhost::error::{Error, Kind, Result};
use cvhost_plugin_api::PluginError;
use cvhost_plugin_api::abi::DataSetBox;
use cvhost_plugin_api::data::Record;
use cvhost_plugin_api::error::ErrorKind;

/// Records by index; read from several threads.
pub trait Source: Send + Sync {
    /// How many records there are.
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record at `index`, from 0. Fails where the annotations of it can't be used, or past the end.
    fn record(&self, index: usize) -> Result<Record>;
}

impl Source for DataSetBox {
    fn len(&self) -> usize {
        // The inherent method is the plugin's.
        usize::try_from(DataSetBox::len(self)).unwrap_or(usize::MAX)
    }

    fn record(&self, index: usize) -> Result<Record> {
        DataSetBox::record(self, index as u64).into_result().map_err(from_plugin)
    }
}

/// The records that a task made of pictures to predict.
impl Source for Vec<Record> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn record(&self, index: usize) -> Result<Record> {
        self.get(index)
            .cloned()
            .ok_or_else(|| Error::failed(format!("record {index} asked of a list of {}", Vec::len(self))))
    }
}

/// A plugin's error as the host's: its kind decides the exit code, its help and details are kept.
pub fn from_plugin(error: PluginError) -> Error {
    let kind = match error.kind {
        ErrorKind::CONFIG => Kind::Usage,
        ErrorKind::DATA | ErrorKind::CHECKPOINT => Kind::Input,
        _ => Kind::Failed,
    };
    let what = if error.key.is_empty() {
        error.message.into_string()
    } else {
        format!("`{}`: {}", error.key, error.message)
    };
    let mut converted = Error::new(kind, what);
    if !error.help.is_empty() {
        converted = converted.with_help(error.help.into_string());
    }
    converted.with_details(error.details.into_iter().map(|d| d.into_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugins_error_keeps_kind_help_and_details() {
        let error = from_plugin(
            PluginError::config("data.policy", "no such policy").with_help("use `clip`").with_details(["a", "b"]),
        );
        assert_eq!(error.kind, Kind::Usage);
        assert_eq!(error.to_string(), "`data.policy`: no such policy\n  - a\n  - b\nhelp: use `clip`");
        assert_eq!(from_plugin(PluginError::data("x")).kind, Kind::Input);
        assert_eq!(from_plugin(PluginError::failed("x")).kind, Kind::Failed);
    }

    #[test]
    fn a_list_of_records_says_which_index_it_lacks() {
        let records = vec![Record::default()];
        assert!(records.record(0).is_ok());
        assert_eq!(records.record(3).unwrap_err().to_string(), "record 3 asked of a list of 1");
    }
}

//! Where records come from: a plugin's data set, or a list.

use cvhost::error::{Error, Result};
use cvhost::plugin_error::from_plugin;
use cvhost_plugin_api::abi::DataSetBox;
use cvhost_plugin_api::data::{Record, RecordMeta};

/// Records by index; read from several threads.
pub trait Source: Send + Sync {
    /// How many records there are.
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record at `index`, from 0. Fails where the annotations of it can't be used, or past the end.
    fn record(&self, index: usize) -> Result<Record>;

    /// What is known of the record at `index` without its image; nothing, unless the source says otherwise.
    fn meta(&self, index: usize) -> Result<RecordMeta> {
        let _ = index;
        Ok(RecordMeta::default())
    }
}

impl Source for DataSetBox {
    fn len(&self) -> usize {
        // The inherent method is the plugin's.
        usize::try_from(DataSetBox::len(self)).unwrap_or(usize::MAX)
    }

    fn record(&self, index: usize) -> Result<Record> {
        DataSetBox::record(self, index as u64)
            .into_result()
            .map_err(from_plugin)
    }

    fn meta(&self, index: usize) -> Result<RecordMeta> {
        DataSetBox::meta(self, index as u64)
            .into_result()
            .map_err(from_plugin)
    }
}

/// The records that a task made of images to predict.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_records_says_which_index_it_lacks() {
        let records = vec![Record::default()];
        assert!(records.record(0).is_ok());
        assert_eq!(
            records.record(3).unwrap_err().to_string(),
            "record 3 asked of a list of 1"
        );
    }
}

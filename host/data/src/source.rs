//! Sources of records: a plugin's data set, or a list.

use cvhost::error::{Error, Result};
use cvhost::plugin_error::{checked, from_plugin};
use cvhost_plugin_api::abi::DataSetBox;
use cvhost_plugin_api::data::{LabelSpec, Record, RecordArgs, RecordMeta};

/// Random access to records; called from several threads.
pub trait Source: Send + Sync {
    /// The number of records.
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record at `index`, counted from 0, as read outside of training.
    ///
    /// # Errors
    /// If its annotations are invalid, or `index` is out of range.
    fn record(&self, index: usize) -> Result<Record>;

    /// The record at `args.index` as read in an epoch of training: the task's random choices depend
    /// on `args.seed`.
    fn record_in(&self, args: &RecordArgs) -> Result<Record> {
        self.record(args.index as usize)
    }

    /// The record's number in the whole data set. Evaluators use it to distinguish records, also if
    /// several ranks or subsets each have a part of the data set.
    fn id(&self, index: usize) -> u64 {
        index as u64
    }

    /// The record with that [`Source::id`], as read outside of training.
    fn record_of(&self, id: u64) -> Result<Record> {
        self.record(usize::try_from(id).unwrap_or(usize::MAX))
    }

    /// The record's name in messages, available without reading the record.
    fn name(&self, index: usize) -> Result<String> {
        Ok(format!("record {index}"))
    }

    /// The metadata of the record at `index` that is known without its image; nothing by default.
    fn meta(&self, index: usize) -> Result<RecordMeta> {
        let _ = index;
        Ok(RecordMeta::default())
    }
}

/// A plugin's data set. Its length and labels are read once, so that plugin errors in them are
/// reported when it is opened.
pub struct DataSetSource {
    data_set: DataSetBox,
    len: usize,
    spec: LabelSpec,
}

impl DataSetSource {
    /// # Errors
    /// Errors of the plugin.
    pub fn new(data_set: DataSetBox) -> Result<Self> {
        let len = checked(data_set.len())?;
        let spec = checked(data_set.spec())?;
        Ok(DataSetSource {
            len: usize::try_from(len).unwrap_or(usize::MAX),
            spec,
            data_set,
        })
    }

    pub fn spec(&self) -> &LabelSpec {
        &self.spec
    }

    pub fn data_set(&self) -> &DataSetBox {
        &self.data_set
    }
}

impl Source for DataSetSource {
    fn len(&self) -> usize {
        self.len
    }

    fn record(&self, index: usize) -> Result<Record> {
        self.record_in(&RecordArgs::at(index as u64))
    }

    fn record_in(&self, args: &RecordArgs) -> Result<Record> {
        args.lend(|args| self.data_set.record(args))
            .into_result()
            .map_err(from_plugin)
    }

    fn name(&self, index: usize) -> Result<String> {
        Ok(checked(self.data_set.name(index as u64))?.into_string())
    }

    fn meta(&self, index: usize) -> Result<RecordMeta> {
        checked(self.data_set.meta(index as u64))
    }
}

/// The records that a task created for the images to predict.
impl Source for Vec<Record> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn record(&self, index: usize) -> Result<Record> {
        self.get(index).cloned().ok_or_else(|| {
            Error::failed(format!(
                "record {index} requested from a list of {}",
                Vec::len(self)
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_out_of_range_is_reported_for_a_list_of_records() {
        let records = vec![Record::default()];
        assert!(records.record(0).is_ok());
        assert_eq!(
            records.record(3).unwrap_err().to_string(),
            "record 3 requested from a list of 1"
        );
    }
}

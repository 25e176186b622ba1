//! Where records come from: a plugin's data set, or a list.

use cvhost::error::{Error, Result};
use cvhost::plugin_error::{checked, from_plugin};
use cvhost_plugin_api::abi::DataSetBox;
use cvhost_plugin_api::data::{LabelSpec, Record, RecordArgs, RecordMeta};

/// Records by index; read from several threads.
pub trait Source: Send + Sync {
    /// How many records there are.
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record at `index`, from 0, as it is outside of training. Fails where its annotations can't
    /// be used, or past the end.
    fn record(&self, index: usize) -> Result<Record>;

    /// The record at `args.index` as an epoch of the training reads it: the task's random choices
    /// follow `args.seed`.
    fn record_in(&self, args: &RecordArgs) -> Result<Record> {
        self.record(args.index as usize)
    }

    /// The record's number in the whole data set. Evaluators tell records apart by it, also where
    /// several ranks or subsets have a part of the data set each.
    fn id(&self, index: usize) -> u64 {
        index as u64
    }

    /// The record with that [`Source::id`], as it is outside of training.
    fn record_of(&self, id: u64) -> Result<Record> {
        self.record(usize::try_from(id).unwrap_or(usize::MAX))
    }

    /// The record's name in messages, without reading the record.
    fn name(&self, index: usize) -> Result<String> {
        Ok(format!("record {index}"))
    }

    /// What is known of the record at `index` without its image; nothing by default.
    fn meta(&self, index: usize) -> Result<RecordMeta> {
        let _ = index;
        Ok(RecordMeta::default())
    }
}

/// A plugin's data set. Its length and labels are read once, so that a fault of the plugin in them is
/// an error where it is opened.
pub struct DataSetSource {
    data_set: DataSetBox,
    len: usize,
    spec: LabelSpec,
}

impl DataSetSource {
    /// # Errors
    /// Those of the plugin.
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

/// The records that a task made from images to predict.
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
    fn a_list_of_records_names_the_index_that_it_lacks() {
        let records = vec![Record::default()];
        assert!(records.record(0).is_ok());
        assert_eq!(
            records.record(3).unwrap_err().to_string(),
            "record 3 requested from a list of 1"
        );
    }
}

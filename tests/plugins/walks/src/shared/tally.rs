//! An evaluator's state: a few numbers per record. Metrics are computed over the records in the
//! order of their ids, so that merged evaluators give bit-identical results to one that saw
//! everything.

use cvhost_plugin_api::data::Fields;
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::serde_json;
use std::collections::BTreeMap;

/// Numbers by record id. A record that is passed twice counts once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally(BTreeMap<u64, Vec<f64>>);

impl Tally {
    /// Stores what `measure` returns for each record's prediction and target.
    pub fn update(
        &mut self,
        ids: &[u64],
        predictions: &[Fields],
        targets: &[Fields],
        mut measure: impl FnMut(&Fields, &Fields) -> Result<Vec<f64>>,
    ) -> Result<()> {
        for ((id, prediction), target) in ids.iter().zip(predictions).zip(targets) {
            self.0.insert(*id, measure(prediction, target)?);
        }
        Ok(())
    }

    /// The records' ids and numbers, in id order.
    pub fn rows(&self) -> impl Iterator<Item = (u64, &[f64])> {
        self.0.iter().map(|(id, row)| (*id, row.as_slice()))
    }

    /// The sums of the records' numbers, by column.
    pub fn sums(&self) -> Vec<f64> {
        let mut sums = Vec::new();
        for (_, row) in self.rows() {
            sums.resize(row.len().max(sums.len()), 0.0);
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
        sums
    }

    pub fn state(&self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(&self.0)?)
    }

    pub fn merge(&mut self, state: &[u8]) -> Result<()> {
        let other: BTreeMap<u64, Vec<f64>> = serde_json::from_slice(state)
            .map_err(|e| PluginError::failed(format!("an evaluator's state can't be read: {e}")))?;
        self.0.extend(other);
        Ok(())
    }
}

//! Unreadable images, if the configuration says to skip them.

use cvhost::error::Error;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The records whose images were skipped; each is reported once.
#[derive(Debug, Default)]
pub struct BrokenRecords(Mutex<BTreeMap<usize, String>>);

impl BrokenRecords {
    /// Records that the record can't be read, and logs a warning the first time.
    pub(crate) fn note(&self, record: usize, error: &Error) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let std::collections::btree_map::Entry::Vacant(entry) = known.entry(record) {
            let message = error.to_string();
            tracing::warn!("skipped: {message}");
            entry.insert(message);
        }
    }

    /// The number of skipped records.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

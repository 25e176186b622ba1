//! Images that can't be read, where the configuration says to go on without them.

use cvhost::error::Error;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The records whose images were skipped, each told once.
#[derive(Debug, Default)]
pub struct BrokenRecords(Mutex<BTreeMap<usize, String>>);

impl BrokenRecords {
    /// Notes that the record can't be read, and tells it where it is new.
    pub(crate) fn note(&self, record: usize, error: &Error) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let std::collections::btree_map::Entry::Vacant(entry) = known.entry(record) {
            let message = error.to_string();
            tracing::warn!("skipped: {message}");
            entry.insert(message);
        }
    }

    /// How many records were skipped.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

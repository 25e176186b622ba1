//! Memory reused between batches. A fresh allocation of a large batch costs more in page faults
//! than writing it does.

use std::sync::{Arc, Mutex, PoisonError};

/// Retains the memory of finished batches for later ones.
pub struct Pool {
    free: Mutex<Vec<Vec<u64>>>,
    most: usize,
}

impl Pool {
    /// A pool that retains up to `most` unused buffers.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Pool {
            free: Mutex::default(),
            most,
        })
    }

    /// Returns at least `count` words with arbitrary contents: the smallest free buffer that is
    /// large enough, but at most twice as large.
    pub(crate) fn take(&self, count: usize) -> Vec<u64> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |buffer: &Vec<u64>| (count..=count.saturating_mul(2)).contains(&buffer.len());
        let best = free
            .iter()
            .enumerate()
            .filter(|(_, buffer)| fits(buffer))
            .min_by_key(|(_, buffer)| buffer.len())
            .map(|(index, _)| index);
        match best {
            Some(index) => free.swap_remove(index),
            None => {
                drop(free);
                // Batches of padded images vary in size; the extra space lets later ones fit.
                // Unused zero pages cost nothing.
                vec![0; count.saturating_add(count / 8)]
            }
        }
    }

    /// Returns a buffer to the pool; if it is full, the oldest buffer is freed.
    pub(crate) fn give_back(&self, buffer: Vec<u64>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(buffer);
        if free.len() > self.most {
            drop(free.remove(0));
        }
    }
}

//! Memory that batches use again. A fresh allocation of a large batch costs more in page faults than writing it does.

use std::sync::{Arc, Mutex, PoisonError};

/// Keeps the memory of finished batches for the next ones.
pub struct Pool {
    free: Mutex<Vec<Vec<u64>>>,
    most: usize,
}

impl Pool {
    /// A pool that keeps up to `most` pieces of memory which nobody uses.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Pool {
            free: Mutex::default(),
            most,
        })
    }

    /// At least `count` words of any value: the smallest piece that is large enough, and not more than twice as large.
    pub(crate) fn take(&self, count: usize) -> Vec<u64> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |piece: &Vec<u64>| (count..=count.saturating_mul(2)).contains(&piece.len());
        let best = free
            .iter()
            .enumerate()
            .filter(|(_, piece)| fits(piece))
            .min_by_key(|(_, piece)| piece.len())
            .map(|(index, _)| index);
        match best {
            Some(index) => free.swap_remove(index),
            None => {
                drop(free);
                // Batches of padded images vary in size; some room lets the next ones fit. Unused zero pages cost nothing.
                vec![0; count.saturating_add(count / 8)]
            }
        }
    }

    /// Keeps a piece; the one that has waited longest makes room.
    pub(crate) fn give_back(&self, piece: Vec<u64>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(piece);
        if free.len() > self.most {
            drop(free.remove(0));
        }
    }
}

//! Processes many files on all CPU cores: formats with one file per image mostly wait for the disk.

use std::num::NonZero;
use std::thread;

/// More threads than this don't speed up disk access.
const MAX_THREADS: usize = 8;
/// Minimum number of items per thread.
const MIN_ITEMS_PER_THREAD: usize = 64;

/// Applies `work` to each item; the results are in item order.
pub fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = processors
        .min(MAX_THREADS)
        .min(items.len().div_ceil(MIN_ITEMS_PER_THREAD));
    if threads < 2 {
        return items.iter().map(work).collect();
    }
    let work = &work;
    thread::scope(|scope| {
        let parts: Vec<_> = items
            .chunks(items.len().div_ceil(threads))
            .map(|part| scope.spawn(move || part.iter().map(work).collect::<Vec<R>>()))
            .collect();
        let mut results = Vec::with_capacity(items.len());
        for part in parts {
            match part.join() {
                Ok(part) => results.extend(part),
                // Propagates to the caller's thread, where the panic is caught and reported.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..1000).collect();
        assert_eq!(
            map(&items, |i| i * 2),
            items.iter().map(|i| i * 2).collect::<Vec<_>>()
        );
        assert!(map(&[] as &[usize], |i| *i).is_empty());
    }
}

//! Thread-local cache of large buffers, because fresh memory costs a page fault per 4 KB.

use std::cell::RefCell;

/// The largest buffer to retain, in bytes: an image of 16 megapixels.
const MAX_KEPT: usize = 48 << 20;
/// The number of buffers to retain: for a file's bytes, the decoded image, and the rotated image.
const MAX_COUNT: usize = 3;

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of `length` bytes with arbitrary contents.
pub fn take(length: usize) -> Vec<u8> {
    // A much larger buffer would be occupied for as long as its image lives.
    let fits = |buffer: &Vec<u8>| buffer.capacity() >= length && buffer.capacity() / 4 <= length;
    let kept = KEPT.with_borrow_mut(|kept| {
        let fitting = kept.iter().enumerate().filter(|(_, buffer)| fits(buffer));
        let (at, _) = fitting.min_by_key(|(_, buffer)| buffer.capacity())?;
        Some(kept.remove(at))
    });
    let Some(mut buffer) = kept else {
        return vec![0; length];
    };
    buffer.resize(length, 0);
    buffer
}

/// Retains a buffer for the thread's next images.
pub fn keep(buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > MAX_KEPT {
        return;
    }
    KEPT.with_borrow_mut(|kept| {
        if kept.len() == MAX_COUNT {
            kept.remove(0);
        }
        kept.push(buffer);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_buffer_that_fits_is_reused_unless_it_is_far_too_large() {
        let places = [1000, 3000].map(|length| {
            let buffer = vec![7; length];
            let place = buffer.as_ptr();
            keep(buffer);
            place
        });
        let again = take(900);
        assert_eq!((again.as_ptr(), again.len()), (places[0], 900));
        let larger = take(2000);
        assert_eq!((larger.as_ptr(), larger.len()), (places[1], 2000));
        keep(again);
        keep(larger);
        let small = take(10);
        assert!(!places.contains(&small.as_ptr()));
        assert_eq!(take(5000).len(), 5000);
    }

    #[test]
    fn at_most_three_buffers_are_retained_and_no_huge_ones() {
        keep(Vec::with_capacity(MAX_KEPT + 1));
        KEPT.with_borrow(|kept| assert!(kept.is_empty()));
        for length in 1..=5 {
            keep(vec![0; length]);
        }
        KEPT.with_borrow(|kept| assert_eq!(kept.len(), MAX_COUNT));
    }
}

//! Large buffers that a thread keeps, because fresh memory costs a page fault for every 4 KB.

use std::cell::RefCell;

/// The largest buffer that is kept, in bytes: a picture of 16 megapixels.
const MAX_KEPT: usize = 48 << 20;
/// How many are kept: what a picture is decoded into, and what it is turned into.
const MAX_COUNT: usize = 2;

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of `length` bytes that hold anything.
pub fn take(length: usize) -> Vec<u8> {
    let kept = KEPT.with_borrow_mut(|kept| {
        let fits = kept.iter().position(|buffer| buffer.capacity() >= length)?;
        Some(kept.swap_remove(fits))
    });
    match kept {
        // Much larger than needed, it would stay with its picture for as long as that lives.
        Some(mut buffer) if buffer.capacity() / 4 <= length => {
            buffer.resize(length, 0);
            buffer
        }
        _ => vec![0; length],
    }
}

/// Keeps a buffer for the thread's next pictures.
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
    fn a_kept_buffer_is_taken_again_unless_it_is_far_too_large() {
        let buffer = vec![7; 1000];
        let place = buffer.as_ptr();
        keep(buffer);
        let again = take(900);
        assert_eq!((again.as_ptr(), again.len()), (place, 900));
        keep(again);
        let larger = take(2000);
        assert_eq!(larger.len(), 2000);
        let small = take(10);
        assert_ne!(small.as_ptr(), place);
    }

    #[test]
    fn no_more_than_two_are_kept_and_none_that_is_huge() {
        keep(Vec::with_capacity(MAX_KEPT + 1));
        KEPT.with_borrow(|kept| assert!(kept.is_empty()));
        for length in 1..=5 {
            keep(vec![0; length]);
        }
        KEPT.with_borrow(|kept| assert_eq!(kept.len(), MAX_COUNT));
    }
}

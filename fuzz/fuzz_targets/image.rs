//! Image decoding: for arbitrary bytes, it neither panics nor exceeds its memory limit, and its
//! invariants hold.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = cvhost_data::check_promises(bytes) {
        panic!("{broken}");
    }
});

//! The image opener: whatever the bytes are, it neither panics nor takes more memory than it says, and its promises hold.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = cvhost_data::check_promises(bytes) {
        panic!("{broken}");
    }
});

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cvhost_annotations::fuzz::coco(bytes));

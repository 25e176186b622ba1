//! Shared helpers of the end-to-end tests: built programs and plugins, temporary folders, skipping
//! with a reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests may panic

pub mod cells;
pub mod coco;
pub mod events;
pub mod fixed_keys;
pub mod golden;
pub mod programs;
pub mod python;
pub mod third_party;
pub mod toy;
pub mod variant;
pub mod walks;

use std::io::Write;
use std::path::{Path, PathBuf};

/// Root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

/// Reports that a test was skipped, and why, on stderr and in the file that `cargo xtask test`
/// reads.
pub fn skip(test: &str, reason: &str) {
    eprintln!("SKIPPED {test}: {reason}");
    if let Some(log) = std::env::var_os("CVHOST_SKIP_LOG") {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        writeln!(file, "{test}: {reason}").unwrap();
    }
}

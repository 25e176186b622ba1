//! Helpers for the tests of a plugin.

use serde_json::Value;
use std::path::Path;

/// Checks that the schema file beside a plugin is what its configuration type generates, and says how to mend it: with the
/// environment variable `CVHOST_UPDATE_SCHEMAS=1` the file is written anew.
///
/// # Panics
/// When the file differs; it is for tests.
#[allow(clippy::panic)]
pub fn schema_is_current(file: &Path, generated: &Value) {
    let text = serde_json::to_string_pretty(generated).unwrap_or_default() + "\n";
    if std::env::var_os("CVHOST_UPDATE_SCHEMAS").is_some() {
        if let Err(e) = std::fs::write(file, &text) {
            panic!("cannot write {}: {e}", file.display());
        }
        return;
    }
    let stored = std::fs::read_to_string(file).unwrap_or_default();
    let same = serde_json::from_str::<Value>(&stored).is_ok_and(|stored| stored == *generated);
    assert!(
        same,
        "{} is out of date; run the test with CVHOST_UPDATE_SCHEMAS=1. It should be:\n{text}",
        file.display()
    );
}

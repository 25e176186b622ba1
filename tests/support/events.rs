//! Checks on a finished command: its events, and how it failed.

use crate::programs::Run;
use serde_json::Value;
use std::path::PathBuf;

/// Asserts that the run ended with exit code `code`, without a panic, and that its stderr contains
/// each of `words`.
#[track_caller]
pub fn refused(run: &Run, code: i32, words: &[&str]) {
    assert_eq!(run.code, code, "stdout:\n{}\nstderr:\n{}", run.stdout, run.stderr);
    for word in words {
        assert!(run.stderr.contains(word), "`{word}` is not in:\n{}", run.stderr);
    }
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
}

pub fn of_event<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|e| e["event"] == name).collect()
}

/// The path in a field of an event.
pub fn path_in(event: &Value, field: &str) -> PathBuf {
    PathBuf::from(
        event[field]
            .as_str()
            .unwrap_or_else(|| panic!("no `{field}` in {event}")),
    )
}

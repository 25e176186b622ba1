//! Output on stdout: plain text, or one JSON object per line with `--json`. A closed pipe
//! (`| head`) is not an error; output lost for any other reason, such as a full disk, makes the
//! program fail at its end.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value, json};

use crate::error::{Error, Kind};

/// Version of the JSON lines schema.
pub const SCHEMA: u32 = 1;

/// Prints one event: `{"schema":1,"event":name,…fields}`. `fields` is a JSON object.
pub fn event(name: &str, fields: Value) {
    line(&event_text(name, fields));
}

/// The line of an event, without the newline.
pub fn event_text(name: &str, fields: Value) -> String {
    let mut all = Map::new();
    all.insert("schema".to_owned(), json!(SCHEMA));
    all.insert("event".to_owned(), json!(name));
    if let Value::Object(fields) = fields {
        all.extend(fields);
    }
    Value::Object(all).to_string()
}

/// Whether output was lost other than through a closed pipe.
static LOST: AtomicBool = AtomicBool::new(false);

/// Prints one line and flushes stdout. Output to a closed pipe is dropped.
pub fn line(text: &str) {
    let mut out = io::stdout().lock();
    let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) else {
        return;
    };
    if error.kind() != io::ErrorKind::BrokenPipe && !LOST.swap(true, Ordering::Relaxed) {
        note(&format!("error: cannot write to stdout: {error}"));
    }
}

/// The exit code for a program that would end with `code`: 1 instead of 0 if output was lost.
pub fn exit_code(code: u8) -> u8 {
    match code {
        0 if LOST.load(Ordering::Relaxed) => Kind::Failed.exit_code(),
        _ => code,
    }
}

/// Prints one line on stderr; a closed stderr is ignored.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints an error on stderr, and with `json` also as an event on stdout. Returns the exit code.
pub fn error(error: &Error, json: bool) -> u8 {
    note(&format!("error: {error}"));
    if json {
        error_event(error);
    }
    error.kind.exit_code()
}

/// Prints an error as an event on stdout.
pub fn error_event(error: &Error) {
    event("error", error_fields(error));
}

/// A path as messages show it: relative to the current folder if it is inside.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

fn error_fields(error: &Error) -> Value {
    let mut what = error.context.clone();
    what.push(error.what.clone());
    let place = error
        .place
        .as_ref()
        .map(|p| json!({"file": p.file, "line": p.line, "column": p.column}));
    json!({
        "kind": format!("{:?}", error.kind).to_lowercase(),
        "message": what.join(": "),
        "place": place,
        "expected": error.expected,
        "details": error.details,
        "help": error.help,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_starts_with_schema_and_name() {
        let text = event_text("epoch", json!({"epoch": 1}));
        assert_eq!(text, r#"{"schema":1,"event":"epoch","epoch":1}"#);
    }

    #[test]
    fn an_error_event_carries_kind_message_and_help() {
        let fields = error_fields(&Error::usage("wrong").within("here").with_help("do"));
        assert_eq!(
            (&fields["kind"], &fields["message"], &fields["help"]),
            (&json!("usage"), &json!("here: wrong"), &json!("do"))
        );
    }
}

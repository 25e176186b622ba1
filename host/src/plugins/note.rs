//! Reads a plugin's note from its file.

use std::path::Path;

use cvhost_plugin_api::note::{Note, OWNER, SCHEMA, TYPE};
use serde_json::Value;

use super::Rejection;
use super::elf::{self, Facts};

/// The note of a plugin file, and the properties of the file. Compatibility with this host is not
/// checked here.
///
/// # Errors
/// If the file is not a plugin, is damaged, or has a note of an unknown schema.
pub fn read(file: &Path) -> Result<(Note, Facts), Rejection> {
    let (facts, mut notes) = elf::read(file, OWNER, TYPE)?;
    let content = match (notes.pop(), notes.len()) {
        (Some(content), 0) => content,
        (None, _) => {
            return Err(
                Rejection::new("a shared library, but not a cvhost plugin: it has no cvhost note")
                    .help("a plugin crate must call the export macro of cvhost-plugin-api itself"),
            );
        }
        (Some(_), more) => {
            return Err(Rejection::new("the file has more than one cvhost note")
                .found(format!("{} notes", more + 1))
                .expected("one note, from the plugin's own export macro"));
        }
    };
    Ok((parse(&content)?, facts))
}

/// Parses a note from JSON. The schema number is checked first, as another schema may lack every
/// other field.
fn parse(content: &[u8]) -> Result<Note, Rejection> {
    let end = content.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    let value: Value = serde_json::from_slice(&content[..end]).map_err(|e| {
        Rejection::new(format!("its cvhost note is not JSON: {e}")).help("build the plugin again")
    })?;
    let schema = value.get("schema").and_then(Value::as_u64);
    if schema != Some(u64::from(SCHEMA)) {
        let found = schema.map_or("no schema number".to_owned(), |n| format!("schema {n}"));
        return Err(
            Rejection::new("its cvhost note has a schema that this host does not support")
                .found(found)
                .expected(format!("schema {SCHEMA}"))
                .help("install a cvhost at least as new as the plugin"),
        );
    }
    serde_json::from_value(value).map_err(|e| {
        Rejection::new(format!("its cvhost note is incomplete: {e}")).help("build the plugin again")
    })
}

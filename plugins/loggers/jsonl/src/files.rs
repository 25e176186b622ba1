//! Writes small files atomically, and makes names that stay inside the run folder.

use cvhost_plugin_api::{PluginError, Result};
use serde_json::Value;
use std::io;
use std::path::Path;

/// An error with the failed action and the path.
pub fn io_error(what: &str, path: &Path, error: &io::Error) -> PluginError {
    PluginError::failed(format!("cannot {what} {}: {error}", path.display()))
        .with_help("check that the run folder can be written to and that the disk isn't full")
}

pub fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|e| io_error("create the folder", path, &e))
}

/// Atomically replaces a file with pretty-printed JSON.
pub fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    let new = path.with_extension("json.new");
    std::fs::write(&new, text).map_err(|e| io_error("write", &new, &e))?;
    std::fs::rename(&new, path).map_err(|e| io_error("replace", path, &e))
}

/// Converts a logged name into a relative path: slashes separate folders; everything that could
/// lead elsewhere is replaced.
pub fn safe_name(name: &str) -> String {
    let parts: Vec<String> = name.split('/').filter_map(safe_part).collect();
    if parts.is_empty() {
        "unnamed".to_owned()
    } else {
        parts.join("/")
    }
}

/// Sanitizes one path component; `None` if nothing is left.
fn safe_part(part: &str) -> Option<String> {
    let odd = |c: char| c.is_control() || matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    let part: String = part
        .chars()
        .map(|c| if odd(c) { '_' } else { c })
        .take(100)
        .collect();
    let part = part.trim();
    (!part.is_empty() && part.chars().any(|c| c != '.')).then(|| part.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_the_folder() {
        assert_eq!(safe_name("val/image 3.jpg"), "val/image 3.jpg");
        assert_eq!(safe_name("../../etc/passwd"), "etc/passwd");
        assert_eq!(safe_name("/abs/x"), "abs/x");
        assert_eq!(safe_name("a\0b:c"), "a_b_c");
        assert_eq!(safe_name(".."), "unnamed");
        assert_eq!(safe_name(""), "unnamed");
    }

    #[test]
    fn an_error_names_the_path() {
        let error = write_json(Path::new("/nowhere/params.json"), &Value::Null).unwrap_err();
        assert!(error.message.contains("/nowhere/params.json"), "{error}");
    }
}

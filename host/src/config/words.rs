//! Describes in words what a schema accepts, what was found instead, and what to write.

use serde_json::{Map, Value};

use super::check::{list, nearest};
use super::node::{Content, Node};

/// A correction for common mistakes.
pub fn hint(node: &Node, schema: &Map<String, Value>) -> Option<String> {
    let Content::Scalar(value) = &node.content else {
        return None;
    };
    let takes = |name: &str| kinds(schema).iter().any(|k| k == name);
    match value {
        Value::String(text) => {
            let lower = text.to_lowercase();
            if takes("boolean") && matches!(lower.as_str(), "yes" | "on" | "y") {
                return Some("write `true`".to_owned());
            }
            if takes("boolean") && matches!(lower.as_str(), "no" | "off" | "n") {
                return Some("write `false`".to_owned());
            }
            if (takes("number") || takes("integer")) && text.parse::<f64>().is_ok_and(f64::is_finite) {
                return Some(format!("write the number without quotes: `{text}`"));
            }
            let mut choices = choices(schema);
            for option in ["anyOf", "oneOf"].iter().flat_map(|key| list(schema, key)) {
                choices.extend(
                    option
                        .get("enum")
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                        .cloned(),
                );
            }
            let names: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
            nearest(text, &names).map(|close| format!("did you mean `{close}`?"))
        }
        Value::Number(number) => {
            let float = number.as_f64().filter(|_| takes("integer") && number.is_f64())?;
            (float.fract() == 0.0 && float.abs() < 1e15).then(|| format!("write `{float:.0}`"))
        }
        _ => None,
    }
}

/// Describes what a schema accepts.
pub fn describe(schema: &Map<String, Value>) -> String {
    let choices = choices(schema);
    if !choices.is_empty() {
        let names: Vec<String> = choices.iter().map(plain).collect();
        return match names.len() {
            1 => names.concat(),
            _ => format!("one of {}", names.join(", ")),
        };
    }
    let mut words: Vec<String> = own_kinds(schema)
        .iter()
        .map(|kind| describe_kind(kind, schema))
        .collect();
    for choice in ["anyOf", "oneOf"] {
        words.extend(
            list(schema, choice)
                .iter()
                .filter_map(Value::as_object)
                .map(describe),
        );
    }
    words.retain(|w| !w.is_empty() && w != "null");
    words.dedup();
    words.join(" or ")
}

fn describe_kind(kind: &str, schema: &Map<String, Value>) -> String {
    match kind {
        "integer" => format!("an integer{}", range(schema)),
        "number" => format!("a number{}", range(schema)),
        "string" if schema.contains_key("minLength") => "a non-empty string".to_owned(),
        "string" => "a string".to_owned(),
        "boolean" => "true or false".to_owned(),
        "null" => "null".to_owned(),
        "object" => "a map of keys and values".to_owned(),
        "array" => {
            let limit = |key: &str| schema.get(key).and_then(Value::as_u64);
            let count = match (limit("minItems"), limit("maxItems")) {
                (Some(min), Some(max)) if min == max => format!(" of length {min}"),
                (Some(min), Some(max)) => format!(" of length {min} to {max}"),
                (Some(min), None) => format!(" of length at least {min}"),
                (None, Some(max)) => format!(" of length at most {max}"),
                (None, None) => String::new(),
            };
            let items = schema
                .get("items")
                .and_then(Value::as_object)
                .map(describe)
                .unwrap_or_default();
            if items.is_empty() {
                format!("a list{count}")
            } else {
                format!("a list{count}, each item {items}")
            }
        }
        other => other.to_owned(),
    }
}

fn range(schema: &Map<String, Value>) -> String {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64).map(|n| n.to_string());
    match (
        bound("minimum"),
        bound("maximum"),
        bound("exclusiveMinimum"),
        bound("exclusiveMaximum"),
    ) {
        (Some(min), Some(max), ..) => format!(" from {min} to {max}"),
        (Some(min), None, _, Some(max)) => format!(" from {min} to below {max}"),
        (None, _, Some(min), Some(max)) => format!(" between {min} and {max}"),
        (Some(min), ..) => format!(" of at least {min}"),
        (_, Some(max), Some(min), _) => format!(" above {min} and up to {max}"),
        (_, Some(max), ..) => format!(" of at most {max}"),
        (_, _, Some(min), _) => format!(" above {min}"),
        (_, _, _, Some(max)) => format!(" below {max}"),
        _ => String::new(),
    }
}

/// The fixed values that a schema accepts: its enum, or the constants of all its alternatives.
fn choices(schema: &Map<String, Value>) -> Vec<Value> {
    if let Some(own) = schema.get("enum").and_then(Value::as_array) {
        return own.clone();
    }
    if let Some(own) = schema.get("const") {
        return vec![own.clone()];
    }
    let options: Vec<&Value> = list(schema, "oneOf")
        .iter()
        .chain(list(schema, "anyOf"))
        .collect();
    let mut all = Vec::new();
    for option in options {
        let own = match option.as_object() {
            Some(map) if own_kinds(map) == ["null"] => vec![Value::Null],
            Some(map) => choices(map),
            None => Vec::new(),
        };
        if own.is_empty() {
            return Vec::new();
        }
        all.extend(own);
    }
    // Null means "not set" and isn't listed next to other values.
    if all.iter().any(|v| !v.is_null()) {
        all.retain(|v| !v.is_null());
    }
    all
}

/// The types that a schema accepts, including its alternatives.
fn kinds(schema: &Map<String, Value>) -> Vec<String> {
    let mut all = own_kinds(schema);
    for option in list(schema, "anyOf")
        .iter()
        .chain(list(schema, "oneOf"))
        .filter_map(Value::as_object)
    {
        all.extend(own_kinds(option));
    }
    all
}

/// The types in the schema's own `type`. "null" among others only means that the key is optional,
/// so messages omit it.
fn own_kinds(schema: &Map<String, Value>) -> Vec<String> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name.clone()],
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .filter(|n| *n != "null")
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

/// Describes the value found.
pub fn got(node: &Node) -> String {
    match &node.content {
        Content::Map(entries) if entries.is_empty() => "an empty map".to_owned(),
        Content::Map(_) => "a map".to_owned(),
        Content::List(items) => format!("a list of length {}", items.len()),
        Content::Scalar(Value::Null) => "empty".to_owned(),
        Content::Scalar(Value::String(text)) if text.is_empty() => "an empty string".to_owned(),
        Content::Scalar(Value::String(text)) => format!("the string `{}`", shortened(text)),
        Content::Scalar(value) => format!("`{value}`"),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

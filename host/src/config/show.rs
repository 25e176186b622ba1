//! Writes a resolved configuration as YAML with secrets blanked and, optionally, the origin of each
//! value.

use serde_json::Value;

use super::node::{Content, Mark, Node};
use super::scalar;

/// The placeholder for a secret.
pub const BLANK: &str = "***";
/// Column where comments start, unless a line is longer.
const COMMENT_COLUMN: usize = 48;

/// Whether values under this key are secret and never written.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    let named = ["token", "password", "passwd", "secret", "api_key", "apikey"]
        .iter()
        .any(|s| key.contains(s));
    named && !key.contains("tokenizer")
}

/// A copy with every secret string blanked.
pub fn without_secrets(node: &Node) -> Node {
    let mut copy = node.clone();
    blank(&mut copy, false);
    copy
}

/// Whether it contains the placeholder for a secret.
pub fn has_blanks(node: &Node) -> bool {
    match &node.content {
        Content::Scalar(value) => value == BLANK,
        Content::List(items) => items.iter().any(has_blanks),
        Content::Map(entries) => entries.iter().any(|e| has_blanks(&e.node)),
    }
}

fn blank(node: &mut Node, secret: bool) {
    match &mut node.content {
        Content::Scalar(Value::String(text)) if secret && !text.is_empty() => BLANK.clone_into(text),
        Content::Scalar(_) => {}
        Content::List(items) => items.iter_mut().for_each(|item| blank(item, secret)),
        Content::Map(entries) => {
            entries
                .iter_mut()
                .for_each(|e| blank(&mut e.node, secret || is_secret(&e.key)));
        }
    }
}

/// The YAML of a map. `comment` returns the comment after a value; an empty one is omitted.
pub fn yaml(root: &Node, comment: &dyn Fn(Mark) -> String) -> String {
    let mut lines = Vec::new();
    map_lines(root, 0, &mut lines);
    let mut out = String::new();
    for (text, mark) in lines {
        out.push_str(&text);
        let comment = mark.map(comment).unwrap_or_default();
        if !comment.is_empty() {
            let width = text.chars().count();
            out.push_str(&" ".repeat(COMMENT_COLUMN.saturating_sub(width).max(2)));
            out.push_str("# ");
            out.push_str(&comment);
        }
        out.push('\n');
    }
    out
}

fn map_lines(node: &Node, indent: usize, lines: &mut Vec<(String, Option<Mark>)>) {
    for entry in node.entries() {
        let start = format!("{}{}:", " ".repeat(indent), text(&entry.key));
        match &entry.node.content {
            Content::Map(entries) if !entries.is_empty() => {
                lines.push((start, None));
                map_lines(&entry.node, indent + 2, lines);
            }
            _ => lines.push((format!("{start} {}", flow(&entry.node)), Some(entry.node.mark))),
        }
    }
}

/// A value on one line.
fn flow(node: &Node) -> String {
    match &node.content {
        Content::Scalar(Value::String(s)) => text(s),
        Content::Scalar(value) => value.to_string(),
        Content::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Content::Map(entries) => {
            let pairs = entries
                .iter()
                .map(|e| format!("{}: {}", text(&e.key), flow(&e.node)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
    }
}

/// A string, quoted if this parser or a YAML 1.1 parser would read it differently without quotes.
fn text(s: &str) -> String {
    let first = s
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '_'));
    let rest = s
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '-' | ' ' | '+'));
    let word = matches!(s.to_lowercase().as_str(), "y" | "n" | "yes" | "no" | "on" | "off");
    let is_text = scalar::plain(s).is_ok_and(|v| v.is_string());
    if first && rest && !word && is_text && !s.ends_with(' ') {
        s.to_owned()
    } else {
        Value::String(s.to_owned()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::yaml::parse;

    #[test]
    fn written_values_read_back_unchanged() {
        let value = json!({
            "a": {"b": 1, "c": [1, 2.5, "x y", "yes", "1e-4", "- x", "é, ü", "", "~", "a: b", "#", "line\nbreak", "\t"]},
            "empty": {}, "none": [], "null": null, "1": true, "deep": [{"k": [1]}, {}], "small": 1e-7, "big": 1e300,
        });
        let written = yaml(&Node::from_json(&value, Mark::Default), &|_| String::new());
        assert_eq!(parse(&written).unwrap().to_json(), value, "{written}");
    }

    #[test]
    fn secrets_are_blanked_at_any_depth() {
        let value = json!({"loggers": {"x": {"api_token": "abc", "password": "", "auth": {"SECRET": ["p", "q"]},
            "tokenizer": "bert", "max_tokens": 5}}});
        let shown = without_secrets(&Node::from_json(&value, Mark::Default)).to_json();
        let expected = json!({"loggers": {"x": {"api_token": "***", "password": "", "auth": {"SECRET": ["***", "***"]},
            "tokenizer": "bert", "max_tokens": 5}}});
        assert_eq!(shown, expected);
    }
}

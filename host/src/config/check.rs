//! Checks a configuration against the merged schema and reports every problem with its location.

use serde_json::{Map, Value};

use super::node::{Content, Entry, Mark, Node};
use super::words::{describe, got, hint};

/// One problem in a configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Key path, such as `training.learning_rate`; empty for the whole document.
    pub path: String,
    pub mark: Mark,
    pub message: String,
    pub expected: Option<String>,
    pub help: Option<String>,
}

impl Problem {
    pub fn new(path: impl Into<String>, mark: Mark, message: impl Into<String>) -> Self {
        Problem {
            path: path.into(),
            mark,
            message: message.into(),
            expected: None,
            help: None,
        }
    }

    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// All problems of `document` with respect to `schema`, which must not contain references.
pub fn check(document: &Node, schema: &Value) -> Vec<Problem> {
    let mut checker = Checker {
        document,
        root: schema,
        problems: Vec::new(),
    };
    checker.node("", document, schema);
    checker.problems
}

struct Checker<'a> {
    document: &'a Node,
    root: &'a Value,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn node(&mut self, path: &str, node: &Node, schema: &Value) {
        let Value::Object(schema) = schema else {
            if schema == &Value::Bool(false) {
                self.problems.push(Problem::new(
                    path,
                    node.mark,
                    format!("{} is not allowed", named(path)),
                ));
            }
            return;
        };
        for part in list(schema, "allOf") {
            self.node(path, node, part);
        }
        for choice in ["anyOf", "oneOf"] {
            let options = list(schema, choice);
            if !options.is_empty() {
                self.one_of(path, node, schema, options);
            }
        }
        if let Some(problem) = wrong_value(path, node, schema) {
            self.problems.push(problem);
            return;
        }
        match &node.content {
            Content::Scalar(_) => {}
            Content::List(items) => {
                if let Some(item_schema) = schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.node(&format!("{path}[{index}]"), item, item_schema);
                    }
                }
            }
            Content::Map(entries) => self.map(path, node, entries, schema),
        }
    }

    /// Checks a value that must match one of several schemas. If its type fits exactly one of them,
    /// the problems of that one are reported. If that one is an enum, a value of another type may
    /// have been meant, so all alternatives are listed.
    fn one_of(&mut self, path: &str, node: &Node, schema: &Map<String, Value>, options: &[Value]) {
        let mut tried = Vec::new();
        for option in options {
            let mut attempt = Checker {
                document: self.document,
                root: self.root,
                problems: Vec::new(),
            };
            attempt.node(path, node, option);
            if attempt.problems.is_empty() {
                return;
            }
            tried.push((option, attempt.problems));
        }
        tried.retain(|(option, _)| schema_type_fits(node, option));
        match (tried.pop(), tried.is_empty()) {
            (Some((option, problems)), true) if option.get("enum").is_none() => {
                self.problems.extend(problems);
            }
            _ => self.problems.push(mismatch(path, node, schema)),
        }
    }

    fn map(&mut self, path: &str, node: &Node, entries: &[Entry], schema: &Map<String, Value>) {
        let properties = schema.get("properties").and_then(Value::as_object);
        for entry in entries {
            let child_path = join(path, &entry.key);
            if let Some(child) = properties.and_then(|p| p.get(&entry.key)) {
                self.node(&child_path, &entry.node, child);
                continue;
            }
            match schema.get("additionalProperties") {
                Some(Value::Bool(false)) => self.unknown_key(path, entry, properties),
                Some(additional) => self.node(&child_path, &entry.node, additional),
                None if properties.is_some() => self.unknown_key(path, entry, properties),
                None => {}
            }
        }
        for name in list(schema, "required").iter().filter_map(Value::as_str) {
            if node.entry(name).is_none() {
                let missing = join(path, name);
                let mark = self.document.mark_of(path);
                let mut problem = Problem::new(&*missing, mark, format!("{} is missing", named(&missing)));
                problem.expected = properties
                    .and_then(|p| p.get(name)?.get("description")?.as_str())
                    .map(|text| format!("`{name}`: {text}"));
                self.problems.push(problem);
            }
        }
    }

    fn unknown_key(&mut self, path: &str, entry: &Entry, properties: Option<&Map<String, Value>>) {
        let siblings: Vec<&str> = properties
            .into_iter()
            .flat_map(|p| p.keys())
            .map(String::as_str)
            .collect();
        let message = if path.is_empty() {
            format!("unknown section `{}`", entry.key)
        } else {
            format!("unknown key `{}` in `{path}`", entry.key)
        };
        let mut problem = Problem::new(join(path, &entry.key), entry.key_mark, message);
        let elsewhere = self.sections_with(&entry.key);
        let close = nearest(&entry.key, &siblings);
        if let Some(close) = close {
            problem.help = Some(format!("did you mean `{}`?", join(path, close)));
        } else if let Some(section) = elsewhere.iter().find(|s| **s != path) {
            problem.help = Some(format!("there is a key `{}`", join(section, &entry.key)));
        }
        // On the command line there is no file to consult, so list the allowed keys.
        if (problem.help.is_none() || matches!(entry.key_mark, Mark::Override { .. })) && !siblings.is_empty()
        {
            let place = if path.is_empty() {
                "one of the sections".to_owned()
            } else {
                format!("one of the keys of `{path}`")
            };
            problem.expected = Some(format!("{place}: {}", siblings.join(", ")));
        }
        self.problems.push(problem);
    }

    fn sections_with(&self, key: &str) -> Vec<&str> {
        let sections = self.root.get("properties").and_then(Value::as_object);
        let has = |schema: &Value| schema.get("properties").is_some_and(|p| p.get(key).is_some());
        sections
            .into_iter()
            .flatten()
            .filter(|(_, s)| has(s))
            .map(|(name, _)| name.as_str())
            .collect()
    }
}

/// Checks the value itself: its type, range and length.
fn wrong_value(path: &str, node: &Node, schema: &Map<String, Value>) -> Option<Problem> {
    let value = match &node.content {
        Content::Scalar(value) => Some(value),
        _ => None,
    };
    if schema.get("type").is_some_and(|t| !type_fits(node, t)) {
        return Some(mismatch(path, node, schema));
    }
    let allowed = schema.get("enum").and_then(Value::as_array);
    let fits = |v: &Value| value.is_some_and(|own| own == v);
    if allowed.is_some_and(|all| !all.iter().any(fits)) || schema.get("const").is_some_and(|c| !fits(c)) {
        return Some(mismatch(path, node, schema));
    }
    if let Some(number) = value.filter(|v| v.is_number()) {
        let wrong = out_of_range(number, schema);
        return wrong.then(|| mismatch(path, node, schema));
    }
    let limit = |key: &str| schema.get(key).and_then(Value::as_u64).map(|n| n as usize);
    let length = match (&node.content, value) {
        (Content::List(items), _) => Some((items.len(), limit("minItems"), limit("maxItems"))),
        (_, Some(Value::String(text))) => {
            Some((text.chars().count(), limit("minLength"), limit("maxLength")))
        }
        _ => None,
    };
    let (length, min, max) = length?;
    let wrong = min.is_some_and(|min| length < min) || max.is_some_and(|max| length > max);
    wrong.then(|| mismatch(path, node, schema))
}

fn out_of_range(value: &Value, schema: &Map<String, Value>) -> bool {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let Some(number) = value.as_f64() else { return true };
    let outside = bound("minimum").is_some_and(|min| number < min)
        || bound("maximum").is_some_and(|max| number > max)
        || bound("exclusiveMinimum").is_some_and(|min| number <= min)
        || bound("exclusiveMaximum").is_some_and(|max| number >= max);
    let too_wide = match schema.get("format").and_then(Value::as_str) {
        Some(format) if format.starts_with("uint") => value
            .as_u64()
            .is_none_or(|n| largest(schema).is_some_and(|most| n > most)),
        Some("int32") => value.as_i64().is_none_or(|n| i32::try_from(n).is_err()),
        Some("int64" | "int") => value.as_i64().is_none(),
        _ => false,
    };
    outside || too_wide
}

/// The maximum of an unsigned type.
fn largest(schema: &Map<String, Value>) -> Option<u64> {
    match schema.get("format")?.as_str()? {
        "uint8" => Some(u64::from(u8::MAX)),
        "uint16" => Some(u64::from(u16::MAX)),
        "uint32" => Some(u64::from(u32::MAX)),
        "uint64" | "uint" => Some(u64::MAX),
        _ => None,
    }
}

/// Whether the value's type is accepted by the schema or one of its alternatives.
fn schema_type_fits(node: &Node, schema: &Value) -> bool {
    let Value::Object(schema) = schema else {
        return false;
    };
    let mut alternatives = list(schema, "anyOf").iter().chain(list(schema, "oneOf"));
    schema.get("type").is_some_and(|t| type_fits(node, t))
        || alternatives.any(|option| schema_type_fits(node, option))
}

fn type_fits(node: &Node, kind: &Value) -> bool {
    let fits = |name: &str| match (&node.content, name) {
        (Content::Map(_), "object") | (Content::List(_), "array") => true,
        (Content::Scalar(value), _) => match name {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "string" => value.is_string(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64(),
            _ => false,
        },
        _ => false,
    };
    match kind {
        Value::String(name) => fits(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(fits),
        _ => true,
    }
}

/// For example: "… is the string `ten`; expected an integer of at least 1".
fn mismatch(path: &str, node: &Node, schema: &Map<String, Value>) -> Problem {
    let mut expected = describe(schema);
    if let Some(largest) = largest(schema).filter(|_| !schema.contains_key("maximum"))
        && node
            .to_json()
            .as_f64()
            .is_some_and(|number| number > largest as f64)
    {
        expected += &format!(" and at most {largest}");
    }
    let mut problem = Problem::new(path, node.mark, format!("{} is {}", named(path), got(node)));
    problem.help = hint(node, schema);
    if !expected.is_empty() {
        problem.expected = Some(expected);
    }
    problem
}

fn named(path: &str) -> String {
    if path.is_empty() {
        "the configuration".to_owned()
    } else {
        format!("`{path}`")
    }
}

/// `path.key`.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// The schemas under a keyword such as `anyOf`.
pub fn list<'a>(schema: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    schema
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The element of `known` most similar to `word`, if one is close enough.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let scored = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), *name));
    let (distance, name) = scored.min_by_key(|(distance, _)| *distance)?;
    let limit = (word.chars().count().max(name.chars().count()) / 3).max(1);
    (distance <= limit).then_some(name)
}

//! A parsed configuration value that records the origin of each of its parts.

use serde_json::{Map, Value};

/// Where a key or a value was written. Lines and columns are 1-based and count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    File {
        line: usize,
        column: usize,
        width: usize,
    },
    /// In the override with this index on the command line.
    Override {
        index: usize,
        column: usize,
        width: usize,
    },
    /// Not written by the user.
    Default,
}

/// A value with its location; maps keep the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub mark: Mark,
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Null, a boolean, a number or a string; never a JSON array or object.
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One `key: value` of a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: String,
    pub key_mark: Mark,
    pub node: Node,
}

impl Node {
    /// An empty map.
    pub fn empty_map(mark: Mark) -> Self {
        Node {
            mark,
            content: Content::Map(Vec::new()),
        }
    }

    /// Converts `value`, with every part marked `mark`.
    pub fn from_json(value: &Value, mark: Mark) -> Self {
        let content = match value {
            Value::Array(items) => Content::List(items.iter().map(|v| Node::from_json(v, mark)).collect()),
            Value::Object(map) => Content::Map(
                map.iter()
                    .map(|(key, v)| Entry {
                        key: key.clone(),
                        key_mark: mark,
                        node: Node::from_json(v, mark),
                    })
                    .collect(),
            ),
            scalar => Content::Scalar(scalar.clone()),
        };
        Node { mark, content }
    }

    pub fn to_json(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Content::Map(entries) => {
                let pairs = entries.iter().map(|e| (e.key.clone(), e.node.to_json()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.content, Content::Scalar(Value::Null))
    }

    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of a map.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|e| e.key == key)
    }

    pub fn child_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.content {
            Content::Map(entries) => entries.iter_mut().find(|e| e.key == key).map(|e| &mut e.node),
            _ => None,
        }
    }

    /// Removes an entry from a map.
    pub fn take(&mut self, key: &str) -> Option<Entry> {
        match &mut self.content {
            Content::Map(entries) => {
                let index = entries.iter().position(|e| e.key == key)?;
                Some(entries.remove(index))
            }
            _ => None,
        }
    }

    /// Inserts an entry into a map, replacing one with the same key. A null becomes a map; other
    /// content is unchanged.
    pub fn put(&mut self, entry: Entry) {
        if self.is_null() {
            self.content = Content::Map(Vec::new());
        }
        if let Content::Map(entries) = &mut self.content {
            match entries.iter_mut().find(|e| e.key == entry.key) {
                Some(old) => *old = entry,
                None => entries.push(entry),
            }
        }
    }

    /// The node at a path such as `model.scheduler_params.T_max` or `data.image_size[0]`.
    pub fn at(&self, path: &str) -> Option<&Node> {
        let mut node = self;
        for step in steps(path) {
            node = node.step(step)?;
        }
        Some(node)
    }

    /// The location to show for a path: that of its key if it is in a map, otherwise that of its
    /// value; for a missing path, that of its nearest parent written by the user.
    pub fn mark_of(&self, path: &str) -> Mark {
        let mut node = self;
        let mut mark = Mark::Default;
        for step in steps(path) {
            let Some(next) = node.step(step) else { break };
            let found = match step {
                Step::Key(key) => node.entry(key).map_or(next.mark, |e| e.key_mark),
                Step::Index(_) => next.mark,
            };
            if found != Mark::Default {
                mark = found;
            }
            node = next;
        }
        mark
    }

    fn step(&self, step: Step<'_>) -> Option<&Node> {
        match (step, &self.content) {
            (Step::Key(key), Content::Map(_)) => self.entry(key).map(|e| &e.node),
            (Step::Index(index), Content::List(items)) => items.get(index),
            _ => None,
        }
    }

    /// The same value with every location replaced by `map(location)`.
    pub fn map_marks(mut self, map: &impl Fn(Mark) -> Mark) -> Self {
        self.mark = map(self.mark);
        self.content = match self.content {
            Content::List(items) => Content::List(items.into_iter().map(|n| n.map_marks(map)).collect()),
            Content::Map(entries) => Content::Map(
                entries
                    .into_iter()
                    .map(|e| Entry {
                        key: e.key,
                        key_mark: map(e.key_mark),
                        node: e.node.map_marks(map),
                    })
                    .collect(),
            ),
            scalar => scalar,
        };
        self
    }
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// The components of a key path: `a.b[2]` is a, b, 2.
fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split('.').flat_map(|part| {
        let (key, rest) = part.split_once('[').unwrap_or((part, ""));
        let indices = rest
            .split('[')
            .filter_map(|i| i.strip_suffix(']')?.parse().ok())
            .map(Step::Index);
        std::iter::once(Step::Key(key)).chain(indices)
    })
}

impl Node {
    /// The value at a key path.
    pub fn value_at(&self, path: &str) -> Option<Value> {
        self.at(path).map(Node::to_json)
    }

    /// The number at a key path, if the value is a number.
    pub fn number_at(&self, path: &str) -> Option<f64> {
        self.value_at(path)?.as_f64()
    }

    /// The string at a key path in lower case, or `default`.
    pub fn name_at(&self, path: &str, default: &str) -> String {
        let value = self.value_at(path);
        let name = value.as_ref().and_then(Value::as_str).unwrap_or(default);
        name.to_lowercase()
    }

    /// Whether there is a value that isn't null.
    pub fn has(&self, path: &str) -> bool {
        self.at(path).is_some_and(|node| !node.is_null())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_walk_maps_and_lists() {
        let node = Node::from_json(&json!({"a": {"b": [1, [2, 3]]}}), Mark::Default);
        assert_eq!(node.at("a.b[1][0]").map(Node::to_json), Some(json!(2)));
        assert_eq!(node.at("a.c"), None);
        assert_eq!(node.at("a.b[7]"), None);
        assert_eq!(node.at("a.b.c"), None);
    }

    #[test]
    fn json_round_trips_unchanged() {
        let value = json!({"z": 1, "a": [null, true, "x", {"k": 0.5}]});
        assert_eq!(Node::from_json(&value, Mark::Default).to_json(), value);
    }

    #[test]
    fn a_missing_path_is_located_at_its_nearest_parent() {
        let mark = Mark::File {
            line: 3,
            column: 1,
            width: 5,
        };
        let node = Node::from_json(&json!({"model": {"name": "x"}}), mark);
        assert_eq!(node.mark_of("model.other"), mark);
        assert_eq!(node.mark_of("data"), Mark::Default);
    }
}

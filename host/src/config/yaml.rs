//! Parses YAML into [`Node`]s with limits on size and nesting, so that no file can exhaust memory
//! or time.
//!
//! The underlying parser emits events one by one; nothing here recurses on the input.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::Value;

use super::node::{Content, Entry, Mark, Node};
use super::scalar;

/// Maximum file size, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;
/// Maximum nesting depth of lists and maps.
pub const MAX_DEPTH: usize = 64;
/// Maximum number of values after alias expansion; a long string counts as several.
pub const MAX_WEIGHT: usize = 50_000;
/// Maximum length of a key, in bytes.
const MAX_KEY: usize = 1024;
/// Maximum number of duplicate keys reported.
const MAX_DUPLICATES: usize = 20;
/// Length of a string, in bytes, that counts as one additional value.
const TEXT_UNIT: usize = 32;

/// What is wrong with a YAML text, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    pub mark: Mark,
    pub message: String,
    pub help: Option<String>,
}

impl Fault {
    fn new(mark: Mark, message: impl Into<String>) -> Self {
        Fault {
            mark,
            message: message.into(),
            help: None,
        }
    }
}

/// Parses the single document in `text`; an empty text is null. All duplicate keys are reported;
/// any other fault ends parsing.
pub fn parse(text: &str) -> Result<Node, Vec<Fault>> {
    let mut builder = Builder::default();
    if let Some(fault) = too_deep(text) {
        return Err(vec![fault]);
    }
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let step = match event {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => {
                let mark = point(error.marker());
                Err(Fault::new(
                    mark,
                    format!("this is not valid YAML: {}", error.info()),
                ))
            }
        };
        if let Err(fault) = step {
            return Err(vec![fault]);
        }
    }
    if builder.duplicates.is_empty() {
        Ok(builder.root.unwrap_or(Node {
            mark: Mark::Default,
            content: Content::Scalar(Value::Null),
        }))
    } else {
        Err(builder.duplicates)
    }
}

/// Refuses a run of opening brackets or dashes that can only be deep nesting, before the parser
/// scans all of it.
fn too_deep(text: &str) -> Option<Fault> {
    for (index, line) in text.lines().enumerate() {
        let mut run = 0;
        for (column, c) in line.chars().enumerate() {
            run = match c {
                '[' | '{' | '-' | '?' => run + 1,
                ' ' | '\t' => run,
                _ => 0,
            };
            // A line of dashes is an ordinary comment or separator; only `- - -` or `[[[` is
            // nesting.
            if run > 4 * MAX_DEPTH
                && !line.trim_start().starts_with(['#'])
                && !line.trim().chars().all(|c| c == '-')
            {
                let mark = Mark::File {
                    line: index + 1,
                    column: column + 1,
                    width: 1,
                };
                return Some(nested(mark));
            }
        }
    }
    None
}

fn nested(mark: Mark) -> Fault {
    Fault::new(
        mark,
        format!("lists and maps are nested more than {MAX_DEPTH} levels deep"),
    )
}

/// A list or map that is being parsed.
struct Frame {
    anchor: usize,
    mark: Mark,
    weight_before: usize,
    kind: FrameKind,
}

enum FrameKind {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        lines: HashMap<String, Mark>,
        key: Option<(String, Mark)>,
        merges: Vec<Node>,
    },
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    root: Option<Node>,
    /// The node of each anchor, with its weight and depth.
    anchors: HashMap<usize, (Node, usize, usize)>,
    open_anchors: HashSet<usize>,
    documents: usize,
    weight: usize,
    duplicates: Vec<Fault>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let mark = place(span);
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Fault::new(mark, "the file contains more than one YAML document"));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                if self.expects_key() {
                    return self.key(&text, mark);
                }
                self.add_weight(1 + text.len() / TEXT_UNIT, mark)?;
                let value = scalar_value(&text, style, tag.as_deref()).map_err(|m| Fault::new(mark, m))?;
                let node = Node {
                    mark,
                    content: Content::Scalar(value),
                };
                self.remember(anchor, &node, 1 + text.len() / TEXT_UNIT)?;
                self.value(node)
            }
            Event::SequenceStart(anchor, tag) => {
                collection_tag(tag.as_deref(), "seq", mark)?;
                self.open(anchor, mark, FrameKind::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                collection_tag(tag.as_deref(), "map", mark)?;
                let kind = FrameKind::Map {
                    entries: Vec::new(),
                    lines: HashMap::new(),
                    key: None,
                    merges: Vec::new(),
                };
                self.open(anchor, mark, kind)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, mark),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn expects_key(&self) -> bool {
        matches!(
            self.stack.last(),
            Some(Frame {
                kind: FrameKind::Map { key: None, .. },
                ..
            })
        )
    }

    fn add_weight(&mut self, weight: usize, mark: Mark) -> Result<(), Fault> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight > MAX_WEIGHT {
            let message = format!("with aliases expanded, the file contains more than {MAX_WEIGHT} values");
            return Err(Fault::new(mark, message));
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, mark: Mark, kind: FrameKind) -> Result<(), Fault> {
        if self.expects_key() {
            return Err(Fault::new(mark, "a key must be a scalar, not a list or a map"));
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(nested(mark));
        }
        let weight_before = self.weight;
        self.add_weight(1, mark)?;
        if anchor != 0 {
            self.open_anchors.insert(anchor);
        }
        self.stack.push(Frame {
            anchor,
            mark,
            weight_before,
            kind,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        let content = match frame.kind {
            FrameKind::List(items) => Content::List(items),
            FrameKind::Map {
                mut entries, merges, ..
            } => {
                for merged in merges {
                    merge_into(&mut entries, merged)?;
                }
                Content::Map(entries)
            }
        };
        let node = Node {
            mark: frame.mark,
            content,
        };
        self.open_anchors.remove(&frame.anchor);
        self.remember(frame.anchor, &node, self.weight - frame.weight_before)?;
        self.value(node)
    }

    /// Stores an anchored node. The copy counts towards the limit, as it takes memory too.
    fn remember(&mut self, anchor: usize, node: &Node, weight: usize) -> Result<(), Fault> {
        if anchor != 0 {
            self.add_weight(weight, node.mark)?;
            self.anchors.insert(anchor, (node.clone(), weight, depth(node)));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, mark: Mark) -> Result<(), Fault> {
        if self.open_anchors.contains(&anchor) {
            return Err(Fault::new(
                mark,
                "this alias is inside the value that it refers to",
            ));
        }
        let Some((_, weight, depth)) = self.anchors.get(&anchor) else {
            return Err(Fault::new(mark, "this alias refers to an unknown anchor"));
        };
        let (weight, depth) = (*weight, *depth);
        if self.stack.len() + depth > MAX_DEPTH {
            return Err(nested(mark));
        }
        self.add_weight(weight, mark)?;
        let Some((node, ..)) = self.anchors.get(&anchor) else {
            return Ok(());
        };
        let mut node = node.clone();
        node.mark = mark;
        if self.expects_key() {
            return match &node.content {
                Content::Scalar(Value::String(text)) => self.key(text, mark),
                _ => Err(Fault::new(mark, "a key must be a string")),
            };
        }
        self.value(node)
    }

    fn key(&mut self, text: &str, mark: Mark) -> Result<(), Fault> {
        if text.len() > MAX_KEY {
            return Err(Fault::new(mark, format!("a key is longer than {MAX_KEY} bytes")));
        }
        self.add_weight(1 + text.len() / TEXT_UNIT, mark)?;
        if let Some(Frame {
            kind: FrameKind::Map { key, .. },
            ..
        }) = self.stack.last_mut()
        {
            *key = Some((text.to_owned(), mark));
        }
        Ok(())
    }

    /// Adds a finished value to the innermost list or map, or makes it the document.
    fn value(&mut self, node: Node) -> Result<(), Fault> {
        match self.stack.last_mut().map(|f| &mut f.kind) {
            None => self.root = Some(node),
            Some(FrameKind::List(items)) => items.push(node),
            Some(FrameKind::Map {
                entries,
                lines,
                key,
                merges,
            }) => {
                let Some((name, key_mark)) = key.take() else {
                    return Ok(());
                };
                if name == "<<" {
                    merges.push(node);
                } else if let Some(first) = lines.get(&name) {
                    if self.duplicates.len() < MAX_DUPLICATES {
                        let mut fault = Fault::new(key_mark, format!("duplicate key `{name}` in this map"));
                        if let Mark::File { line, .. } = first {
                            fault.help = Some(format!("it first appears in line {line}; remove one of them"));
                        }
                        self.duplicates.push(fault);
                    }
                } else {
                    lines.insert(name.clone(), key_mark);
                    entries.push(Entry {
                        key: name,
                        key_mark,
                        node,
                    });
                }
            }
        }
        Ok(())
    }
}

/// Merge keys, `<<: *base` or `<<: [*a, *b]`: keys that the map doesn't define itself are taken
/// from there.
fn merge_into(entries: &mut Vec<Entry>, merged: Node) -> Result<(), Fault> {
    let maps = match merged.content {
        Content::List(items) => items,
        _ => vec![merged],
    };
    for map in maps {
        let Content::Map(others) = map.content else {
            return Err(Fault::new(map.mark, "`<<` takes a map, or a list of maps"));
        };
        let known: HashSet<String> = entries.iter().map(|e| e.key.clone()).collect();
        entries.extend(others.into_iter().filter(|other| !known.contains(&other.key)));
    }
    Ok(())
}

fn depth(node: &Node) -> usize {
    match &node.content {
        Content::Scalar(_) => 0,
        Content::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Content::Map(entries) => 1 + entries.iter().map(|e| depth(&e.node)).max().unwrap_or(0),
    }
}

fn scalar_value(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() => scalar::tagged(&tag.suffix, text),
        Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => Ok(Value::String(text.to_owned())),
        Some(tag) => Err(format!("the tag `{}{}` is not supported", tag.handle, tag.suffix)),
        None if style == ScalarStyle::Plain => scalar::plain(text),
        None => Ok(Value::String(text.to_owned())),
    }
}

fn collection_tag(tag: Option<&Tag>, expected: &str, mark: Mark) -> Result<(), Fault> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == expected) => Err(Fault::new(
            mark,
            format!("the tag `{}{}` is not supported here", tag.handle, tag.suffix),
        )),
        _ => Ok(()),
    }
}

/// The scanner's lines are 1-based and its columns 0-based.
fn place(span: Span) -> Mark {
    let width = if span.end.line() == span.start.line() {
        span.len().max(1)
    } else {
        1
    };
    Mark::File {
        line: span.start.line(),
        column: span.start.col() + 1,
        width,
    }
}

fn point(marker: &saphyr_parser::Marker) -> Mark {
    Mark::File {
        line: marker.line(),
        column: marker.col() + 1,
        width: 1,
    }
}

#[cfg(test)]
mod tests;

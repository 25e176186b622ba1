//! `data.yaml`: the image folders and class names of a YOLO dataset.
//!
//! Events are read one by one. Aliases are rejected, so the input can't expand.

use crate::limits;
use saphyr_parser::{Event, Parser};
use std::path::Path;

/// Maximum file size in bytes: enough for tens of thousands of class names.
const MAX_BYTES: u64 = 4 << 20;
/// Maximum nesting depth of lists and maps.
const MAX_DEPTH: usize = 32;
/// Maximum number of values.
const MAX_NODES: usize = 400_000;

/// The fields that detection uses.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DataYaml {
    /// The dataset's folder, which the splits are relative to.
    pub path: Option<String>,
    pub train: Vec<String>,
    pub val: Vec<String>,
    pub test: Vec<String>,
    /// Class numbers and names.
    pub names: Vec<(i64, String)>,
    /// The number of classes.
    pub nc: Option<i64>,
    /// For datasets with keypoints: the number of keypoints, and of values per keypoint.
    pub kpt_shape: Option<[usize; 2]>,
}

impl DataYaml {
    /// Reads the file at `path`. The error doesn't contain the path.
    pub fn open(path: &Path) -> Result<Self, String> {
        parse(&limits::read(path, MAX_BYTES)?)
    }

    /// The folders or lists of a split, as given in the file.
    pub fn split(&self, split: &str) -> &[String] {
        match split {
            "train" => &self.train,
            "val" => &self.val,
            "test" => &self.test,
            _ => &[],
        }
    }

    /// The number of keypoint values after a label's box.
    pub fn keypoint_numbers(&self) -> Option<usize> {
        self.kpt_shape.map(|[count, numbers]| count * numbers)
    }
}

/// Parses a file's content. The error gives the reason and the line.
pub fn parse(bytes: &[u8]) -> Result<DataYaml, String> {
    let text = limits::utf8(bytes)?;
    let Node::Map(entries) = document(text)? else {
        return Err("not a map with `names`, `train` and `val`".to_owned());
    };
    let mut data = DataYaml::default();
    let mut seen: Vec<&str> = Vec::new();
    for (key, value) in &entries {
        let Node::Text(key) = key else { continue };
        if seen.contains(&key.as_str()) {
            return Err(format!("the key `{key}` occurs twice"));
        }
        match key.as_str() {
            "path" => data.path = value.text().filter(|t| !t.is_empty()).map(str::to_owned),
            "train" => data.train = paths(key, value)?,
            "val" | "valid" => data.val.extend(paths(key, value)?),
            "test" => data.test = paths(key, value)?,
            "names" => data.names = names(value)?,
            "nc" => {
                let count = value.text().and_then(|t| t.parse().ok());
                data.nc = Some(count.ok_or("`nc` is not a number")?);
            }
            "kpt_shape" => data.kpt_shape = Some(shape(value)?),
            _ => continue,
        }
        seen.push(key);
    }
    Ok(data)
}

fn paths(key: &str, value: &Node) -> Result<Vec<String>, String> {
    let wrong = || format!("`{key}` is neither a path nor a list of paths");
    match value {
        Node::Text(path) if matches!(path.as_str(), "" | "~" | "null") => Ok(Vec::new()),
        Node::Text(path) => Ok(vec![path.clone()]),
        Node::List(paths) => paths
            .iter()
            .map(|path| path.text().map(str::to_owned).ok_or_else(wrong))
            .collect(),
        Node::Map(_) => Err(wrong()),
    }
}

fn names(value: &Node) -> Result<Vec<(i64, String)>, String> {
    let text = |node: &Node| {
        let name = node.text().map(str::trim).filter(|name| !name.is_empty());
        name.map(str::to_owned)
            .ok_or("`names` has an entry that is not a name")
    };
    let mut names = Vec::new();
    match value {
        Node::List(list) => {
            for (number, name) in (0..).zip(list) {
                names.push((number, text(name)?));
            }
        }
        Node::Map(map) => {
            for (number, name) in map {
                let number: Option<i64> = number.text().and_then(|t| t.parse().ok());
                let number = number
                    .filter(|n| *n >= 0)
                    .ok_or("`names` has a key that is not a class number")?;
                names.push((number, text(name)?));
            }
        }
        Node::Text(_) => return Err("`names` is neither a list nor a map from class numbers".to_owned()),
    }
    Ok(names)
}

fn shape(value: &Node) -> Result<[usize; 2], String> {
    let wrong = "`kpt_shape` is not [number of keypoints, 2 or 3]";
    let Node::List(list) = value else {
        return Err(wrong.to_owned());
    };
    let numbers: Option<Vec<usize>> = list.iter().map(|n| n.text()?.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[count, numbers @ (2 | 3)]) if count <= 10_000 => Ok([count, numbers]),
        _ => Err(wrong.to_owned()),
    }
}

/// A value. A scalar is kept as text, regardless of its YAML type: a class may be called `no` or
/// `1`.
#[derive(Debug)]
enum Node {
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    fn text(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A list or map under construction.
enum Frame {
    List(Vec<Node>),
    Map(Vec<(Node, Node)>, Option<Node>),
}

/// The single document of a text.
fn document(text: &str) -> Result<Node, String> {
    if let Some(line) = nested_line(text) {
        return Err(format!(
            "line {line}: lists and maps are nested more than {MAX_DEPTH} deep"
        ));
    }
    let mut parser = Parser::new_from_str(text);
    let mut frames: Vec<Frame> = Vec::new();
    let mut root = None;
    let mut count = 0;
    while let Some(event) = parser.next_event() {
        let (event, span) =
            event.map_err(|e| format!("line {}: this is not valid YAML: {}", e.marker().line(), e.info()))?;
        let fault = |what: &str| Err(format!("line {}: {what}", span.start.line()));
        count += 1;
        if count > MAX_NODES {
            return fault("more values than expected in a dataset description");
        }
        let finished = match event {
            Event::Scalar(text, ..) => Node::Text(text.into_owned()),
            Event::Alias(_) => return fault("aliases are not allowed; write the value out"),
            Event::SequenceStart(..) | Event::MappingStart(..) if frames.len() >= MAX_DEPTH => {
                return fault("lists and maps are nested too deeply");
            }
            Event::SequenceStart(..) => {
                frames.push(Frame::List(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                frames.push(Frame::Map(Vec::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match frames.pop() {
                Some(Frame::List(list)) => Node::List(list),
                Some(Frame::Map(map, _)) => Node::Map(map),
                None => continue,
            },
            Event::DocumentStart(_) if root.is_some() => {
                return fault("a second document; only one is allowed");
            }
            _ => continue,
        };
        match frames.last_mut() {
            None => root = Some(finished),
            Some(Frame::List(list)) => list.push(finished),
            Some(Frame::Map(map, key)) => match key.take() {
                Some(key) => map.push((key, finished)),
                None => *key = Some(finished),
            },
        }
    }
    Ok(root.unwrap_or(Node::Map(Vec::new())))
}

/// The line with a run of opening brackets that can only be deep nesting: the parser would scan
/// ahead through all of it.
fn nested_line(text: &str) -> Option<usize> {
    let nested = |line: &str| {
        let mut run = 0;
        line.chars().any(|c| {
            run = match c {
                '[' | '{' | '-' | '?' => run + 1,
                ' ' | '\t' => run,
                _ => 0,
            };
            run > 4 * MAX_DEPTH
        })
    };
    text.lines()
        .position(|line| !line.trim_start().starts_with('#') && nested(line))
        .map(|line| line + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn both_spellings_of_names_and_splits_are_read() {
        let data = parse(
            b"path: ../sets/coco8 # root\ntrain: images/train\nval:\n  - images/val\n  - more\ntest:\nnc: 2\n\
              names:\n  0: person\n  7: 'no'\nroboflow:\n  license: CC BY 4.0\n",
        )
        .unwrap();
        assert_eq!(data.path.as_deref(), Some("../sets/coco8"));
        assert_eq!(data.split("train"), ["images/train"]);
        assert_eq!(data.split("val"), ["images/val", "more"]);
        assert!(data.split("test").is_empty());
        assert_eq!(data.names, [(0, "person".to_owned()), (7, "no".to_owned())]);
        assert_eq!((data.nc, data.kpt_shape), (Some(2), None));
        let data = parse(b"train: ../train/images\nnames: ['a', no, 1]\nkpt_shape: [17, 3]").unwrap();
        assert_eq!(data.names.len(), 3);
        assert_eq!(data.names[1], (1, "no".to_owned()));
        assert_eq!(data.keypoint_numbers(), Some(51));
        assert_eq!(parse(b"").unwrap(), DataYaml::default());
    }

    #[test]
    fn errors_are_reported_with_their_line() {
        for (text, part) in [
            ("[a, b]", "not a map"),
            ("names: 3", "neither a list nor a map"),
            ("names: [[a]]", "not a name"),
            ("names: {a: b}", "not a class number"),
            ("names: [a]\nnames: [b]", "`names` occurs twice"),
            ("nc: many", "`nc` is not a number"),
            ("train: {a: b}", "`train` is neither"),
            ("kpt_shape: [17, 4]", "kpt_shape"),
            ("a: &a [1]\nb: [*a, *a]", "line 2: aliases are not allowed"),
            ("a: b\n---\nc: d", "a second document"),
            ("a: [b", "this is not valid YAML"),
            ("a: b\n\tc: d: e", "not valid YAML"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn deep_nesting_and_bombs_are_rejected_immediately() {
        let begin = Instant::now();
        for text in [
            "[".repeat(1_000_000),
            "- ".repeat(1_000_000),
            "{a: ".repeat(1_000_000),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(
                error.contains("nested") || error.contains("recursion limit"),
                "{error}"
            );
        }
        let lines = "x".repeat(3_000_000);
        assert!(parse(format!("a: [{}]", "1,".repeat(1_000_000)).as_bytes()).is_err());
        assert!(parse(lines.as_bytes()).is_err());
        assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());
    }
}

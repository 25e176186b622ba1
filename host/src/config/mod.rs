//! The configuration: one YAML file and `key.sub=value` overrides, checked against the schemas of
//! the host and the plugins.
//!
//! Loading proceeds as [`Draft::read`] → overrides → [`Draft::finish`] with the schemas of the
//! relevant plugins: check → `resolve` → [`Loaded`]. Which plugins are relevant may depend on the
//! draft, so the steps are separate.
//!
//! Relative paths are resolved against the current folder; if the path doesn't exist there but
//! exists relative to the configuration file, that one is used.

mod augmentations;
mod batching;
pub mod check;
mod effects;
pub mod node;
mod optimisation;
mod report;
mod resolve;
pub mod scalar;
pub mod schema;
mod sections;
pub mod show;
mod values;
mod words;
pub mod yaml;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Kind, Result};
pub use augmentations::{Augmentations, ColorJitter, Probability, RandomResize};
pub use batching::{BatchSize, BrokenFiles, LastBatch, Sampling};
use check::Problem;
use node::{Content, Entry, Mark, Node};
use report::Sources;
pub use resolve::PLUGIN_MODEL_KEYS;
pub use schema::PluginSchema;
pub use sections::{Config, DataConfig, MlflowConfig, ModelConfig, OutputConfig, TrainingConfig};
pub use values::{
    Attention, DeviceName, EmaConfig, EmaParams, ImageSize, MonitorMode, NanPolicy, OptimizerKind,
    OptimizerParams, Precision, PreferredDevices, Resources, Scheduler, SchedulerParams, Visualization,
};

impl Config {
    /// Reads, checks and resolves a file with its overrides (`key.sub=value`), using the schemas of
    /// `plugins`.
    pub fn load(file: &Path, overrides: &[String], plugins: &[PluginSchema]) -> Result<Loaded> {
        Draft::read(file, overrides)?.finish(plugins)
    }
}

/// A configuration that has been read but not checked yet.
#[derive(Debug, Clone)]
pub struct Draft {
    sources: Sources,
    folder: PathBuf,
    root: Node,
    /// The user's configuration, before the program's own overrides.
    given: Option<Node>,
}

impl Draft {
    /// Reads `file` and applies the overrides. Files larger than 1 MB or with too many values are
    /// refused.
    pub fn read(file: &Path, overrides: &[String]) -> Result<Self> {
        let text = read_text(file)?;
        let sources = Sources {
            file: file.display().to_string(),
            text,
            overrides: Vec::new(),
        };
        let mut root =
            yaml::parse(&sources.text).map_err(|faults| sources.error(faults_to_problems(faults)))?;
        if root.is_null() {
            root = Node::empty_map(Mark::Default);
        }
        if !matches!(root.content, Content::Map(_)) {
            let problem = Problem::new("", root.mark, "the configuration is not a map of sections")
                .expected("sections such as `model:`, `data:` and `training:` with keys below them");
            return Err(sources.error(vec![problem]));
        }
        let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
        let mut draft = Draft {
            sources,
            folder,
            root,
            given: None,
        };
        for text in overrides {
            draft.set(text)?;
        }
        Ok(draft)
    }

    /// A configuration without a file, for commands that take none; set its values with
    /// [`Draft::set_value`].
    pub fn empty() -> Self {
        let sources = Sources {
            file: "command line".to_owned(),
            text: String::new(),
            overrides: Vec::new(),
        };
        Draft {
            sources,
            folder: PathBuf::new(),
            root: Node::empty_map(Mark::Default),
            given: None,
        }
    }

    /// Applies an override made by the program itself, for example for a trial run; keys that lose
    /// their effect because of it are not reported.
    pub fn set_own(&mut self, text: &str) -> Result<()> {
        self.given.get_or_insert_with(|| self.root.clone());
        self.set(text)
    }

    /// Applies one override, `key.sub=value`; the value is read as YAML.
    pub fn set(&mut self, text: &str) -> Result<()> {
        let index = self.sources.overrides.len();
        self.sources.overrides.push(text.to_owned());
        let Some((path, value)) = text.split_once('=') else {
            let error = Error::usage(format!("`{text}` is not an override"))
                .with_expected("key.sub=value, such as training.max_epochs=3");
            return Err(match text.parse::<f64>() {
                Ok(_) => error.with_help(format!(
                    "if the number is meant for an option with an optional value, attach it with \
                     `=`: --option={text}"
                )),
                Err(_) => error,
            });
        };
        let path = path.trim();
        let start = text.find('=').map_or(0, |at| text[..at].chars().count() + 1);
        let to_override = |mark: Mark| match mark {
            Mark::File { column, width, .. } => Mark::Override {
                index,
                column: column + start,
                width,
            },
            other => other,
        };
        let node = yaml::parse(value).map_err(|faults| {
            let problems = faults_to_problems(faults).into_iter().map(|mut problem| {
                problem.mark = to_override(problem.mark);
                if problem.message.ends_with(scalar::NOT_FINITE) {
                    return problem;
                }
                problem.help("quote a string with special characters: key='\"value\"'")
            });
            self.sources.error(problems.collect())
        })?;
        let mut node = node.map_marks(&to_override);
        let key_mark = Mark::Override {
            index,
            column: 1,
            width: path.chars().count().max(1),
        };
        if node.mark == Mark::Default {
            node.mark = key_mark;
        }
        self.put(path, node, key_mark)
    }

    /// Sets a value from within the program, with the origin of a default.
    pub fn set_value(&mut self, path: &str, value: &Value) -> Result<()> {
        self.put(path, Node::from_json(value, Mark::Default), Mark::Default)
    }

    fn put(&mut self, path: &str, node: Node, key_mark: Mark) -> Result<()> {
        let keys: Vec<&str> = path.split('.').collect();
        let fail = |message: String| {
            let problem = Problem::new(path, key_mark, message)
                .expected("key.sub=value, such as training.max_epochs=3");
            Err(self.sources.error(vec![problem]))
        };
        let Some((last, parents)) = keys.split_last() else {
            return Ok(());
        };
        if keys.iter().any(|k| k.is_empty() || k.contains(['[', ']'])) {
            return fail(format!(
                "`{path}` is not a key path; a list can only be set as a whole"
            ));
        }
        if keys.len() >= yaml::MAX_DEPTH {
            return fail(format!("`{path}` is nested too deeply"));
        }
        let mut parent = &mut self.root;
        for key in parents {
            if parent.entry(key).is_none() {
                let map = Node::empty_map(key_mark);
                parent.put(Entry {
                    key: (*key).to_owned(),
                    key_mark,
                    node: map,
                });
            }
            match parent.child_mut(key) {
                Some(child) => parent = child,
                None => {
                    return fail(format!(
                        "in `{path}`, the parent of `{key}` is a value, not a map"
                    ));
                }
            }
        }
        if !parent.is_null() && !matches!(parent.content, Content::Map(_)) {
            return fail(format!(
                "in `{path}`, the parent of `{last}` is a value, not a map"
            ));
        }
        parent.put(Entry {
            key: (*last).to_owned(),
            key_mark,
            node,
        });
        Ok(())
    }

    /// Whether it contains blanked secrets.
    pub fn has_blanks(&self) -> bool {
        show::has_blanks(&self.root)
    }

    /// The value at a key path.
    pub fn value(&self, path: &str) -> Option<Value> {
        self.root.value_at(path)
    }

    /// The string at a key path, if the value is a string.
    pub fn text(&self, path: &str) -> Option<String> {
        self.value(path)?.as_str().map(str::to_owned)
    }

    /// The names of the requested loggers in order, including the top-level section `mlflow` and
    /// excluding those disabled with `NAME: false`.
    pub fn logger_names(&self) -> Vec<String> {
        let mut draft = self.root.clone();
        resolve::switched_off(&mut draft);
        let loggers = draft
            .entry("loggers")
            .map(|e| e.node.entries())
            .unwrap_or_default();
        let mut names: Vec<String> = loggers.iter().map(|e| e.key.clone()).collect();
        if draft.entry("mlflow").is_some() && !names.iter().any(|n| n == "mlflow") {
            names.push("mlflow".to_owned());
        }
        names
    }

    /// Resolves a relative path of this file against the current folder or, failing that, the
    /// file's folder.
    pub fn find_path(&self, path: &str) -> PathBuf {
        resolve::find_path(path, &self.folder)
    }

    /// An error that points at the line of a key.
    pub fn error_at(&self, path: &str, message: impl Into<String>) -> Error {
        self.sources
            .error(vec![Problem::new(path, self.root.mark_of(path), message)])
    }

    /// `message` as a warning with the line of a key.
    pub fn warning_at(&self, path: &str, message: &str) -> String {
        self.sources.warning(self.root.mark_of(path), message)
    }

    /// Checks the whole configuration, reporting all problems at once, and resolves it.
    pub fn finish(self, plugins: &[PluginSchema]) -> Result<Loaded> {
        let Draft {
            sources,
            folder,
            mut root,
            given,
        } = self;
        let mut schema = schema::merged(plugins);
        let mut warnings = undeclared_plugin_keys(&root, &mut schema, plugins);

        let off = resolve::switched_off(&mut root);
        resolve::empty_sections(&mut root);
        let mut problems = check::check(&root, &schema);
        problems.extend(resolve::rules(&root));
        if !problems.is_empty() {
            return Err(sources.error(problems));
        }
        warnings.extend(resolve::one_place(&mut root));
        resolve::find_paths(&mut root, &folder);
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.remove("mlflow");
        }
        resolve::fill_defaults(&mut root, &schema);
        let given = given.map(|mut given| {
            resolve::switched_off(&mut given);
            resolve::empty_sections(&mut given);
            resolve::one_place(&mut given);
            resolve::fill_defaults(&mut given, &schema);
            given
        });
        warnings.extend(effects::without_effect(given.as_ref().unwrap_or(&root), &schema));
        resolve::put_back(&mut root, off);
        resolve::sort_sections(&mut root);

        let document = root.to_json();
        let config = serde_json::from_value(document.clone()).map_err(|error| {
            Error::usage(format!(
                "{} passed its check but can't be read: {error}",
                sources.file
            ))
            .with_help("this is a bug in cvhost or in a plugin's schema; please report it")
        })?;
        let warnings = warnings
            .into_iter()
            .map(|(mark, message)| sources.warning(mark, &message))
            .collect();
        Ok(Loaded {
            config,
            document,
            warnings,
            sources,
            root,
        })
    }
}

/// A checked and resolved configuration.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The host's keys as typed structures.
    pub config: Config,
    /// The whole document as JSON, including the plugins' keys and all defaults; plugins receive
    /// their sections from it.
    pub document: Value,
    /// Warnings about keys without effect, with file and line.
    pub warnings: Vec<String>,
    sources: Sources,
    root: Node,
}

/// Where a value of a resolved configuration came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    File {
        file: String,
        line: usize,
    },
    /// The override as typed.
    Override(String),
    Default,
}

impl Loaded {
    /// The value at a key path.
    pub fn value(&self, path: &str) -> Option<Value> {
        self.root.value_at(path)
    }

    /// Sets a value that the configuration omits or leaves to be determined, such as
    /// `data.batch_size: auto`; all later reads of the configuration return it.
    ///
    /// # Errors
    /// If the section doesn't exist or the key doesn't accept the value, which is a bug in the
    /// caller.
    pub fn decide(&mut self, path: &str, value: &Value) -> Result<()> {
        let mut root = self.root.clone();
        let (section, key) = path.rsplit_once('.').unwrap_or(("", path));
        let section = section
            .split('.')
            .try_fold(&mut root, |node, key| node.child_mut(key))
            .ok_or_else(|| Error::failed(format!("the configuration has no `{section}`")))?;
        let mark = section.mark_of(key);
        section.put(Entry {
            key: key.to_owned(),
            key_mark: mark,
            node: Node::from_json(value, mark),
        });
        let document = root.to_json();
        let config: Config = serde_json::from_value(document.clone())
            .map_err(|error| Error::failed(format!("`{path}` can't be {value}: {error}")))?;
        let pointer = format!("/{}", path.replace('.', "/"));
        if serde_json::to_value(&config).is_ok_and(|read| read.pointer(&pointer).is_none()) {
            return Err(Error::failed(format!("the configuration has no `{path}`")));
        }
        (self.config, self.document, self.root) = (config, document, root);
        Ok(())
    }

    /// The origin of the value at a key path; `None` if there is no value.
    pub fn origin(&self, path: &str) -> Option<Origin> {
        self.root.at(path).map(|node| self.sources.origin(node.mark))
    }

    /// An error that points at the line of a key, for problems found only at a later stage. A key
    /// that isn't in the file is named without a line.
    pub fn error_at(&self, path: &str, message: impl Into<String>) -> Error {
        self.sources
            .error(vec![Problem::new(path, self.root.mark_of(path), message)])
    }

    /// The resolved configuration as YAML with secrets blanked, as written to the run folder.
    pub fn to_yaml(&self) -> String {
        show::yaml(&show::without_secrets(&self.root), &|_| String::new())
    }

    /// Like [`Self::to_yaml`], with the origin of each value as a comment after it.
    pub fn to_commented_yaml(&self) -> String {
        let comment = |mark| match self.sources.origin(mark) {
            Origin::File { file, line } => format!("{file}:{line}"),
            Origin::Override(_) => "command line".to_owned(),
            Origin::Default => "default".to_owned(),
        };
        show::yaml(&show::without_secrets(&self.root), &comment)
    }

    /// The resolved configuration as JSON with secrets blanked.
    pub fn to_json(&self) -> Value {
        show::without_secrets(&self.root).to_json()
    }
}

/// Keys of `model` that plugins implement, but none of these does: allowed, with a warning.
fn undeclared_plugin_keys(root: &Node, schema: &mut Value, plugins: &[PluginSchema]) -> Vec<(Mark, String)> {
    let mut warnings = Vec::new();
    let Some(known) = schema
        .pointer_mut("/properties/model/properties")
        .and_then(Value::as_object_mut)
    else {
        return warnings;
    };
    let names: Vec<&str> = plugins.iter().map(|p| p.plugin.as_str()).collect();
    let with = if names.is_empty() {
        "without a plugin".to_owned()
    } else {
        format!("with {}", names.join(", "))
    };
    for key in PLUGIN_MODEL_KEYS {
        let path = format!("model.{key}");
        if !known.contains_key(key) && root.at(&path).is_some() {
            warnings.push((root.mark_of(&path), format!("`{path}` has no effect {with}")));
            known.insert(key.to_owned(), Value::Bool(true));
        }
    }
    warnings
}

fn faults_to_problems(faults: Vec<yaml::Fault>) -> Vec<Problem> {
    let to_problem = |fault: yaml::Fault| Problem {
        help: fault.help,
        ..Problem::new("", fault.mark, fault.message)
    };
    faults.into_iter().map(to_problem).collect()
}

/// Reads a file of at most [`yaml::MAX_BYTES`].
fn read_text(file: &Path) -> Result<String> {
    let too_large = || {
        Error::usage(format!(
            "{} is larger than {} kB",
            file.display(),
            yaml::MAX_BYTES / 1024
        ))
        .with_expected("a configuration file of a few kB")
    };
    let cannot = |error: &std::io::Error| Error::io(Kind::Usage, "read the configuration", file, error);
    let open = File::open(file).map_err(|e| cannot(&e))?;
    let length = open.metadata().map_err(|e| cannot(&e))?;
    if length.is_dir() {
        return Err(
            Error::usage(format!("the configuration {} is a folder", file.display()))
                .with_expected("a YAML file"),
        );
    }
    if length.len() > yaml::MAX_BYTES {
        return Err(too_large());
    }
    // A pipe has no length, so count the bytes read as well.
    let mut bytes = Vec::new();
    open.take(yaml::MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| cannot(&e))?;
    if bytes.len() as u64 > yaml::MAX_BYTES {
        return Err(too_large());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|b| **b == b'\n').count() + 1;
        Error::usage(format!("{}:{line}: the file is not UTF-8 text", file.display()))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests;

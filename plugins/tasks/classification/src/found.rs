//! What is found in a split before its classes are numbered, whichever way it is laid out.

use crate::folders;
use crate::records::Records;
use crate::table;
use cvhost_data_sets::Faults;
use cvhost_plugin_api::data::{OpenArgs, Problem};
use cvhost_plugin_api::{PluginError, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A split as its folder or file has it.
#[derive(Debug, Default)]
pub struct Found {
    /// In the order in which they came. The labels of `records` count in it.
    pub classes: Vec<String>,
    pub records: Records,
    /// Of a file: the line of each record.
    pub lines: Vec<u32>,
    /// Whether a picture may have several classes, or none.
    pub multi_label: bool,
    pub faults: Faults,
    pub warnings: Vec<Problem>,
}

/// Where a split's classes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder with one folder a class.
    Folders(PathBuf),
    /// A CSV or TSV file, and the folder that its file names start from.
    Table { file: PathBuf, root: PathBuf },
}

impl Source {
    /// What `data.<split>_data_path` and `data.<split>_annotation_file` say.
    pub fn of(pictures: &str, annotations: &str, split: &str) -> Result<Self> {
        if pictures.is_empty() {
            let key = format!("data.{split}_data_path");
            let message = format!("there is no folder with the {split} pictures");
            return Err(PluginError::config(&key, message).with_help(format!(
                "set `{key}` to a folder with one folder a class, or to the pictures' folder with a CSV file in \
                 `data.{split}_annotation_file`"
            )));
        }
        let root = PathBuf::from(pictures);
        if annotations.is_empty() {
            return Ok(Source::Folders(root));
        }
        let file = PathBuf::from(annotations);
        if table::delimiter(&file).is_some() {
            return Ok(Source::Table { file, root });
        }
        let key = format!("data.{split}_annotation_file");
        let message = format!("{annotations} is neither a .csv nor a .tsv file");
        Err(PluginError::config(&key, message).with_help(format!(
            "classification reads CSV and TSV files; leave `{key}` out for a folder with one folder a class"
        )))
    }

    /// The training split of a configuration, where it names one.
    fn training(config: &Value) -> Option<Self> {
        let path = |key: &str| config["data"][key].as_str().unwrap_or_default();
        Source::of(path("train_data_path"), path("train_annotation_file"), "train").ok()
    }

    /// How messages call it.
    pub fn name(&self) -> &Path {
        match self {
            Source::Folders(path) => path,
            Source::Table { file, .. } => file,
        }
    }
}

/// What is fixed before a split is read.
#[derive(Debug, Clone, Default)]
pub struct Fixed {
    /// `data.multi_label`, or what the training split turned out to be; by default the split itself tells.
    pub multi_label: Option<bool>,
    /// The classes of the training split, sorted.
    pub classes: Option<Vec<String>>,
}

impl Fixed {
    /// For the training split the configuration alone; for another one also what the training split has: validation must
    /// have its classes and their numbers, also those of which it has no picture. A training split that can't be read here,
    /// say because only a checkpoint is evaluated, fixes nothing.
    pub fn of(args: &OpenArgs, multi_label: Option<bool>) -> Self {
        let mut fixed = Fixed {
            multi_label,
            classes: None,
        };
        if args.split == "train" {
            return fixed;
        }
        let known = Source::training(&args.config).and_then(|source| match &source {
            Source::Folders(root) => Some((folders::classes(root)?, false)),
            Source::Table { file, .. } => {
                let found = table::read(file, multi_label, "train").ok()?;
                Some((found.classes, found.multi_label))
            }
        });
        if let Some((mut classes, multi)) = known.filter(|(classes, _)| !classes.is_empty()) {
            classes.sort();
            fixed.classes = Some(classes);
            fixed.multi_label.get_or_insert(multi);
        }
        fixed
    }
}

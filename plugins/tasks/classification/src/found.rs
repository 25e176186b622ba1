//! What is found in a split before its classes are numbered, whichever way it is laid out.

use crate::config::Format;
use crate::folders;
use crate::records::Records;
use crate::table;
use cvhost_datasets::Faults;
use cvhost_plugin_api::data::{OpenArgs, Problem};
use cvhost_plugin_api::{PluginError, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Names of a file beside the images that need not be configured, the first of these that is there counts.
const USUAL_FILES: [&str; 4] = [
    "_classes.csv",
    "_annotations.csv",
    "annotations.csv",
    "labels.csv",
];

/// A split as its folder or file has it.
#[derive(Debug, Default)]
pub struct Found {
    /// In the order in which they came. The labels of `records` count in it.
    pub classes: Vec<String>,
    pub records: Records,
    /// Of a file: the line of each record.
    pub lines: Vec<u32>,
    /// Whether an image may have several classes, or none.
    pub multi_label: bool,
    pub faults: Faults,
    /// Of a file: lines whose rows aren't right.
    pub wrong_lines: Vec<u32>,
    pub warnings: Vec<Problem>,
}

impl Found {
    /// Adds a fault of a row. `kind` says, in the plural, what is counted when there are too many to tell each.
    pub fn wrong(&mut self, kind: &'static str, line: u32, what: impl FnOnce() -> String) {
        self.wrong_lines.push(line);
        self.faults.push(kind, || format!("line {line}: {}", what()));
    }
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
    /// What `data.<split>_data_path` and `data.<split>_annotation_file` say, and a warning where it could be read otherwise.
    pub fn of(
        images: &str,
        annotations: &str,
        split: &str,
        format: Format,
    ) -> Result<(Self, Option<String>)> {
        if images.is_empty() {
            let key = format!("data.{split}_data_path");
            let message = format!("there is no folder with the {split} images");
            return Err(PluginError::config(&key, message).with_help(format!(
                "set `{key}` to a folder with one folder a class, or to the images' folder with a CSV file in \
                 `data.{split}_annotation_file`"
            )));
        }
        let root = PathBuf::from(images);
        let key = format!("data.{split}_annotation_file");
        if annotations.is_empty() {
            return Source::in_folder(root, &key, format);
        }
        let file = PathBuf::from(annotations);
        if format == Format::Folders {
            let message = format!("`{key}` is set, though `data.format` is `folders`");
            return Err(PluginError::config(&key, message)
                .with_help(format!("leave out one of them; `{key}` is for CSV files")));
        }
        if table::delimiter(&file).is_some() || format == Format::Csv {
            return Ok((Source::Table { file, root }, None));
        }
        let message = format!("{annotations} is neither a .csv nor a .tsv file");
        Err(PluginError::config(&key, message).with_help(format!(
            "classification reads CSV and TSV files; leave `{key}` out for a folder with one folder a class"
        )))
    }

    /// What a folder holds: folders of classes win over a file.
    fn in_folder(root: PathBuf, key: &str, format: Format) -> Result<(Self, Option<String>)> {
        let file = if format == Format::Folders {
            None
        } else {
            file_in(&root)
        };
        let Some(file) = file else {
            if format == Format::Csv {
                let message = format!("there is no CSV file in {}, or there are several", root.display());
                return Err(PluginError::config(key, message).with_help(format!("set `{key}` to it")));
            }
            return Ok((Source::Folders(root), None));
        };
        let has_classes =
            format == Format::Auto && folders::classes(&root).is_some_and(|classes| !classes.is_empty());
        if !has_classes {
            return Ok((Source::Table { file, root }, None));
        }
        let warning = format!(
            "{}: its folders are taken for classes, though {} would do, too; set `data.format` to choose",
            root.display(),
            file.display()
        );
        Ok((Source::Folders(root), Some(warning)))
    }

    /// Says what was found.
    pub fn tell(&self, split: &str, format: Format) {
        let auto = if format == Format::Auto {
            "data.format: auto: "
        } else {
            ""
        };
        let what = match self {
            Source::Folders(_) => "folders of classes",
            Source::Table { .. } => "a table",
        };
        tracing::info!("{auto}the {split} labels are {what}, {}", self.name().display());
    }

    /// The training split of a configuration, where it names one.
    fn training(config: &Value, format: Format) -> Option<Self> {
        let path = |key: &str| config["data"][key].as_str().unwrap_or_default();
        let source = Source::of(
            path("train_data_path"),
            path("train_annotation_file"),
            "train",
            format,
        );
        source.ok().map(|(source, _)| source)
    }

    /// How messages call it.
    pub fn name(&self) -> &Path {
        match self {
            Source::Folders(path) => path,
            Source::Table { file, .. } => file,
        }
    }
}

/// The CSV or TSV file in a folder of images: one of the usual names, or the only one.
fn file_in(root: &Path) -> Option<PathBuf> {
    let usual = USUAL_FILES.map(|name| root.join(name));
    if let Some(found) = usual.into_iter().find(|path| path.is_file()) {
        return Some(found);
    }
    let entries = std::fs::read_dir(root).ok()?.flatten().map(|entry| entry.path());
    let mut files = entries.filter(|path| table::delimiter(path).is_some() && path.is_file());
    let first = files.next()?;
    files.next().is_none().then_some(first)
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
    /// have its classes and their numbers, also those of which it has no image. A training split that can't be read here,
    /// say because only a checkpoint is evaluated, fixes nothing.
    pub fn of(args: &OpenArgs, multi_label: Option<bool>, format: Format) -> Self {
        let mut fixed = Fixed {
            multi_label,
            classes: None,
        };
        if args.split == "train" {
            return fixed;
        }
        let known = Source::training(&args.config, format).and_then(|source| match &source {
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

//! The content of a split before its classes are numbered, independent of its layout.

use crate::config::Format;
use crate::folders;
use crate::records::Records;
use crate::table;
use cvhost_datasets::Faults;
use cvhost_plugin_api::data::{OpenArgs, Problem};
use cvhost_plugin_api::{PluginError, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Names of label files next to the images that are found without configuration; the first one
/// present is used.
const USUAL_FILES: [&str; 4] = [
    "_classes.csv",
    "_annotations.csv",
    "annotations.csv",
    "labels.csv",
];

/// A split as read from its folder or file.
#[derive(Debug, Default)]
pub struct Found {
    /// In order of first occurrence. The labels of `records` are indices into it.
    pub classes: Vec<String>,
    pub records: Records,
    /// For a file: the line of each record.
    pub lines: Vec<u32>,
    /// Whether an image may have several classes, or none.
    pub multi_label: bool,
    pub faults: Faults,
    /// For a file: lines with invalid rows.
    pub wrong_lines: Vec<u32>,
    pub warnings: Vec<Problem>,
}

impl Found {
    /// Adds a fault of a row. `kind` is the plural noun for what is counted when there are too many
    /// to list.
    pub fn wrong(&mut self, kind: &'static str, line: u32, what: impl FnOnce() -> String) {
        self.wrong_lines.push(line);
        self.faults.push(kind, || format!("line {line}: {}", what()));
    }
}

/// The source of a split's classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder with one subfolder per class.
    Folders(PathBuf),
    /// A CSV or TSV file, and the folder that its file names are relative to.
    Table { file: PathBuf, root: PathBuf },
}

impl Source {
    /// The source given by `data.<split>_data_path` and `data.<split>_annotation_file`, and a
    /// warning if it is ambiguous.
    pub fn of(
        images: &str,
        annotations: &str,
        split: &str,
        format: Format,
    ) -> Result<(Self, Option<String>)> {
        if images.is_empty() {
            let key = format!("data.{split}_data_path");
            let message = format!("the folder of the {split} images is not set");
            return Err(PluginError::config(&key, message).with_help(format!(
                "set `{key}` to a folder with one subfolder per class, or to the image folder with \
                 a CSV file in `data.{split}_annotation_file`"
            )));
        }
        let root = PathBuf::from(images);
        let key = format!("data.{split}_annotation_file");
        if annotations.is_empty() {
            return Source::in_folder(root, &key, format);
        }
        let file = PathBuf::from(annotations);
        if format == Format::Folders {
            let message = format!("`{key}` is set, although `data.format` is `folders`");
            return Err(PluginError::config(&key, message)
                .with_help(format!("omit one of them; `{key}` is for CSV files")));
        }
        if table::delimiter(&file).is_some() || format == Format::Csv {
            return Ok((Source::Table { file, root }, None));
        }
        let message = format!("{annotations} is neither a .csv nor a .tsv file");
        Err(PluginError::config(&key, message).with_help(format!(
            "classification reads CSV and TSV files; omit `{key}` for a folder with one subfolder per class"
        )))
    }

    /// The source in a folder: class folders take precedence over a file.
    fn in_folder(root: PathBuf, key: &str, format: Format) -> Result<(Self, Option<String>)> {
        let file = if format == Format::Folders {
            None
        } else {
            file_in(&root)
        };
        let Some(file) = file else {
            if format == Format::Csv {
                let message = format!("{} contains no CSV file, or several", root.display());
                return Err(PluginError::config(key, message).with_help(format!("set `{key}` to the file")));
            }
            return Ok((Source::Folders(root), None));
        };
        let has_classes =
            format == Format::Auto && folders::classes(&root).is_some_and(|classes| !classes.is_empty());
        if !has_classes {
            return Ok((Source::Table { file, root }, None));
        }
        let warning = format!(
            "{}: its folders are used as classes, although {} could be used as well; set \
             `data.format` to choose",
            root.display(),
            file.display()
        );
        Ok((Source::Folders(root), Some(warning)))
    }

    /// Logs the detected source.
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

    /// The training split of a configuration, if there is one.
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

    /// The path used in messages.
    pub fn name(&self) -> &Path {
        match self {
            Source::Folders(path) => path,
            Source::Table { file, .. } => file,
        }
    }
}

/// The CSV or TSV file in an image folder: one of the usual names, or the only one.
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

/// Settings that are fixed before a split is read.
#[derive(Debug, Clone, Default)]
pub struct Fixed {
    /// `data.multi_label`, or the value inferred from the training split; `None` infers it from the
    /// split itself.
    pub multi_label: Option<bool>,
    /// The classes of the training split, sorted.
    pub classes: Option<Vec<String>>,
}

impl Fixed {
    /// For the training split only the configuration; for other splits also the training split's
    /// values: validation needs its classes and their numbers, including classes without images. A
    /// training split that can't be read, for example when only a checkpoint is evaluated, fixes
    /// nothing.
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

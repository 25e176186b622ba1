//! A split of a classification dataset.
//!
//! In addition to the form's `class_distribution`, a record has the opaque text `image`: the file
//! name relative to the split's folder, for saved predictions.

use crate::classes;
use crate::config::DataKeys;
use crate::folders;
use crate::found::{Fixed, Found, Source};
use crate::records::Records;
use crate::table;
use cvhost_datasets::{ImageFolder, Trouble};
use cvhost_plugin_api::data::{
    Array, Fields, ImageSource, LabelSpec, OpenArgs, Problem, Record, RecordArgs, RecordMeta, Role,
};
use cvhost_plugin_api::forms::classification::CLASS_DISTRIBUTION;
use cvhost_plugin_api::sdk::DataSet;
use cvhost_plugin_api::{PluginError, Result};
use std::path::{Path, PathBuf};

pub struct ClassificationDataSet {
    root: PathBuf,
    records: Records,
    /// For a file: the line of each record.
    lines: Vec<u32>,
    spec: LabelSpec,
    problems: Vec<Problem>,
}

impl ClassificationDataSet {
    /// Reads and checks a split. All problems that prevent its use are reported in one error.
    pub fn open(args: &OpenArgs) -> Result<Self> {
        let split = args.split.as_str();
        let keys = DataKeys::read(&args.config)?;
        let (source, warning) = Source::of(&args.images, &args.annotations, split, keys.format)?;
        source.tell(split, keys.format);
        let fixed = Fixed::of(args, keys.multi_label, keys.format);
        let mut found = read(&source, &fixed, split)?;
        found.warnings.extend(warning.map(Problem::warning));
        let spec = classes::number(&mut found, &fixed, args, &source);
        let what = format!("the {split} split, {}", source.name().display());
        std::mem::take(&mut found.faults).into_result(&what, &help(&source, split))?;
        let spec = spec?;
        if spec.names.len() == 1 && !found.multi_label {
            let name = spec.name(0);
            found.warnings.push(Problem::warning(format!(
                "{what} has only one class, `{name}`: there is nothing to distinguish"
            )));
        }
        Ok(ClassificationDataSet {
            root: PathBuf::from(&args.images),
            records: found.records,
            lines: found.lines,
            spec,
            problems: found.warnings,
        })
    }

    fn check_index(&self, index: usize) -> Result<()> {
        if index < self.records.len() {
            return Ok(());
        }
        Err(PluginError::failed(format!(
            "record {index} is out of range: the dataset has {} records",
            self.records.len()
        )))
    }
}

/// Reads a split's folder or file and checks everything except its classes.
pub fn read(source: &Source, fixed: &Fixed, split: &str) -> Result<Found> {
    match source {
        Source::Folders(root) => {
            let mut found = folders::read(root, split)?;
            found.multi_label = fixed.multi_label.unwrap_or(false);
            Ok(found)
        }
        Source::Table { file, root } => {
            let mut found = table::read(file, fixed.multi_label, split)?;
            check_images(&mut found, root, split)?;
            Ok(found)
        }
    }
}

fn check_images(found: &mut Found, root: &Path, split: &str) -> Result<()> {
    let mut folder = ImageFolder::open(root, split)?;
    for index in 0..found.records.len() {
        let name = found.records.name(index);
        if let Err(trouble) = folder.check(name) {
            let what = match trouble {
                Trouble::Missing => format!("{} {trouble}", root.join(name).display()),
                Trouble::Leaves(_) => format!("{name:?} {trouble}"),
            };
            let line = found.lines.get(index).copied().unwrap_or(0);
            found.wrong(trouble.kind(), line, || what);
        }
    }
    Ok(())
}

fn help(source: &Source, split: &str) -> String {
    match source {
        Source::Folders(_) => format!(
            "fix the folder in `data.{split}_data_path`; its subfolders are the classes, and \
             links must not lead out of it"
        ),
        Source::Table { .. } => format!(
            "fix the file; its file names are relative to the folder in `data.{split}_data_path`, \
             each image must occur once, and several labels of one image go into one cell, \
             separated by `|` or `;` (`data.multi_label`)"
        ),
    }
}

impl DataSet for ClassificationDataSet {
    fn spec(&self) -> LabelSpec {
        self.spec.clone()
    }

    fn len(&self) -> usize {
        self.records.len()
    }

    fn problems(&self) -> Vec<Problem> {
        self.problems.clone()
    }

    fn name(&self, index: usize) -> Result<String> {
        self.check_index(index)?;
        let image = self.records.name(index);
        Ok(match self.lines.get(index) {
            Some(line) => format!("line {line} ({image})"),
            None => image.to_owned(),
        })
    }

    /// Sizes aren't known until an image is opened.
    fn meta(&self, index: usize) -> Result<RecordMeta> {
        self.check_index(index)?;
        let classes: Vec<i64> = self.records.labels(index).iter().map(|&l| i64::from(l)).collect();
        Ok(RecordMeta {
            classes: classes.into(),
            ..Default::default()
        })
    }

    fn record(&self, args: &RecordArgs) -> Result<Record> {
        let index = args.index as usize;
        self.check_index(index)?;
        let image = self.records.name(index);
        let mut distribution = vec![0.0f32; self.spec.names.len()];
        for &label in self.records.labels(index) {
            if let Some(value) = distribution.get_mut(label as usize) {
                *value = 1.0;
            }
        }
        Ok(Record {
            name: self.name(index)?.into(),
            images: vec![ImageSource::file(self.root.join(image).to_string_lossy())].into(),
            fields: Fields::new()
                .with(
                    CLASS_DISTRIBUTION,
                    Role::DISTRIBUTION,
                    Array::vector(&distribution),
                )
                .with("image", Role::OPAQUE, Array::text(image)),
            ..Default::default()
        })
    }
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod tests;

//! A model folder as `from_pretrained` reads it: `config.json`, `preprocessor_config.json`, and
//! weights in safetensors.

use crate::weights::Weights;
use cvhost::error::{Error, Kind, Result};
use cvhost_hub::layout::{
    CONFIG, EXPECTED, PREPROCESSOR, PROCESSOR, Shards, WEIGHTS, WEIGHTS_INDEX, is_pickle, not_a_folder,
    pickle_refused, read_index, read_json,
};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The marker of a complete checkpoint, written last.
pub(crate) const COMPLETE: &str = "complete.json";
/// The folder of the training state within a checkpoint.
pub(crate) const TRAINING_STATE: &str = "training_state";
/// A folder with one of these is a checkpoint and may be overwritten.
pub(crate) const MARKS: [&str; 3] = [CONFIG, COMPLETE, TRAINING_STATE];

/// The maximum number of labels, far above any real label list. A larger id means a broken file and
/// would cost gigabytes.
pub(super) const MAX_LABELS: usize = 1_000_000;

/// An opened model folder. The weights themselves are read by [`ModelFolder::weights`].
#[derive(Debug)]
pub struct ModelFolder {
    pub path: PathBuf,
    /// `config.json`, an object.
    pub config: Value,
    /// `preprocessor_config.json`, or the image processor of `processor_config.json`; `Null` if
    /// neither exists.
    pub preprocessor: Value,
    /// The safetensors files, at least one.
    pub weight_files: Vec<PathBuf>,
    /// For sharded weights: pairs of tensor name and file name from the index. Otherwise empty.
    shards: Shards,
}

impl ModelFolder {
    /// Opens a folder.
    ///
    /// # Errors
    /// The folder, `config.json`, the weights or a shard is missing; a JSON file can't be read;
    /// only pickle files hold the weights.
    pub fn open(path: &Path) -> Result<ModelFolder> {
        let mut folder = Self::open_without_weights(path)?;
        (folder.weight_files, folder.shards) = find_weights(path)?;
        Ok(folder)
    }

    /// Opens only the JSON files of a folder: training from scratch needs no weights.
    pub fn open_without_weights(path: &Path) -> Result<ModelFolder> {
        if !path.is_dir() {
            return Err(not_a_folder(path));
        }
        if !path.join(CONFIG).is_file() {
            return Err(Error::input(format!("{} has no {CONFIG}", path.display()))
                .with_expected(EXPECTED)
                .with_help(
                    "save the model with save_pretrained(folder), or give a hub id such as owner/name",
                ));
        }
        let config = read_json(&path.join(CONFIG))?;
        if !config.is_object() {
            return Err(Error::input(format!(
                "{} is not a JSON object",
                path.join(CONFIG).display()
            )));
        }
        let preprocessor = read_preprocessor(path)?;
        Ok(ModelFolder {
            path: path.to_owned(),
            config,
            preprocessor,
            weight_files: Vec::new(),
            shards: Default::default(),
        })
    }

    /// Opens the weights and checks their headers. For shards, also checks that each tensor is in
    /// the file that the index names.
    pub fn weights(&self) -> Result<Weights> {
        let weights = Weights::open(&self.weight_files)?;
        let wrong: Vec<String> = self
            .shards
            .iter()
            .filter(|(name, file)| {
                weights
                    .file_of(name)
                    .and_then(Path::file_name)
                    .is_none_or(|found| found != file.as_str())
            })
            .map(|(name, file)| format!("`{name}` is not in {file}"))
            .collect();
        if wrong.is_empty() {
            return Ok(weights);
        }
        Err(Error::input(format!(
            "{} doesn't match its files",
            self.path.join(WEIGHTS_INDEX).display()
        ))
        .with_details(wrong)
        .with_help("files of different checkpoints were probably mixed: download or save the folder again"))
    }

    /// The class names in `config.json`; `None` if there are none, or only the placeholders
    /// `LABEL_0`, `LABEL_1`, ….
    pub fn label_names(&self) -> Result<Option<Vec<String>>> {
        label_names(&self.config).map_err(|e| e.within(self.path.join(CONFIG).display().to_string()))
    }
}

/// Finds the safetensors files and reads their index, if there is one.
fn find_weights(folder: &Path) -> Result<(Vec<PathBuf>, Shards)> {
    let single = folder.join(WEIGHTS);
    if single.is_file() {
        return Ok((vec![single], Vec::new()));
    }
    let index_path = folder.join(WEIGHTS_INDEX);
    if index_path.is_file() {
        let shards = read_index(&index_path)?;
        let files: BTreeSet<&str> = shards.iter().map(|(_, file)| file.as_str()).collect();
        let missing: Vec<String> = files
            .iter()
            .filter(|f| !folder.join(f).is_file())
            .map(|f| (*f).to_owned())
            .collect();
        if !missing.is_empty() {
            return Err(
                Error::input(format!("{} lists files that are missing", index_path.display()))
                    .with_details(missing)
                    .with_help("download or copy the folder again, with all its files"),
            );
        }
        let files = files.into_iter().map(|f| folder.join(f)).collect();
        return Ok((files, shards));
    }
    let names = file_names(folder)?;
    if let Some(pickle) = names.iter().find(|n| is_pickle(n)) {
        return Err(pickle_refused(folder, pickle));
    }
    let there = if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    };
    Err(Error::input(format!(
        "{} has no {WEIGHTS}; it contains {there}",
        folder.display()
    ))
    .with_expected(EXPECTED))
}

fn read_preprocessor(folder: &Path) -> Result<Value> {
    let path = folder.join(PREPROCESSOR);
    if path.is_file() {
        return read_object(&path);
    }
    let path = folder.join(PROCESSOR);
    if path.is_file() {
        return Ok(read_object(&path)?
            .get("image_processor")
            .cloned()
            .unwrap_or(Value::Null));
    }
    Ok(Value::Null)
}

fn read_object(path: &Path) -> Result<Value> {
    let value = read_json(path)?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Error::input(format!("{} is not a JSON object", path.display())))
    }
}

fn file_names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(|e| Error::io(Kind::Input, "list", folder, &e))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// The class names of a `config.json` in the order of their ids. Ids missing from `id2label` are
/// named `LABEL_<id>`.
pub fn label_names(config: &Value) -> Result<Option<Vec<String>>> {
    let Some(labels) = config
        .get("id2label")
        .and_then(Value::as_object)
        .filter(|m| !m.is_empty())
    else {
        return Ok(None);
    };
    let mut names: Vec<Option<String>> = Vec::new();
    for (id, name) in labels {
        let at = id.parse::<usize>().ok().filter(|i| *i < MAX_LABELS);
        let (Some(at), Some(name)) = (at, name.as_str()) else {
            return Err(
                Error::input(format!("`id2label` has an invalid entry {id:?}: {name}")).with_expected(
                    format!("a class id below {MAX_LABELS} and its name, such as \"0\": \"cat\""),
                ),
            );
        };
        if at >= names.len() {
            names.resize(at + 1, None);
        }
        if let Some(slot) = names.get_mut(at) {
            *slot = Some(name.to_owned());
        }
    }
    let placeholder = |id: usize| format!("LABEL_{id}");
    if names
        .iter()
        .enumerate()
        .all(|(id, name)| name.as_ref().is_none_or(|n| *n == placeholder(id)))
    {
        return Ok(None);
    }
    Ok(Some(
        names
            .into_iter()
            .enumerate()
            .map(|(id, name)| name.unwrap_or_else(|| placeholder(id)))
            .collect(),
    ))
}

#[cfg(test)]
mod tests;

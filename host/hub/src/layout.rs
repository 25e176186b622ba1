//! The layout of a Hugging Face model folder: file names, the index of sharded weights, and files
//! that are refused.

use cvhost::error::{Error, Kind, Result};
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub const CONFIG: &str = "config.json";
pub const PREPROCESSOR: &str = "preprocessor_config.json";
/// In newer folders, the image processor is a key of this file.
pub const PROCESSOR: &str = "processor_config.json";
pub const WEIGHTS: &str = "model.safetensors";
pub const WEIGHTS_INDEX: &str = "model.safetensors.index.json";

const MAX_JSON: u64 = 64 << 20;

/// Describes a model folder in error messages.
pub const EXPECTED: &str = "a Hugging Face model folder: config.json, model.safetensors \
    (or model.safetensors.index.json and its shards) and, for images, preprocessor_config.json";

/// Tensor name and file name.
pub type Shards = Vec<(String, String)>;

pub fn not_a_folder(path: &Path) -> Error {
    let what = if !path.exists() {
        format!("there is no folder {}", path.display())
    } else if is_pickle(&path.to_string_lossy()) {
        return pickle_refused(path, &path.display().to_string());
    } else {
        format!("{} is a file, not a folder", path.display())
    };
    Error::input(what).with_expected(EXPECTED)
}

/// Reads the index of sharded weights as pairs of tensor name and file name. The files must be in
/// the same folder.
pub fn read_index(path: &Path) -> Result<Shards> {
    let wrong = |what: String| Error::input(what).within(path.display().to_string());
    let index = read_json(path)?;
    let map = index
        .get("weight_map")
        .and_then(Value::as_object)
        .filter(|m| !m.is_empty())
        .ok_or_else(|| wrong("it has no `weight_map`, or an empty one".to_owned()))?;
    let mut shards = Vec::with_capacity(map.len());
    for (name, file) in map {
        match file.as_str() {
            Some(f) if f.ends_with(".safetensors") && !f.contains(['/', '\\']) && !f.starts_with('.') => {
                shards.push((name.clone(), f.to_owned()));
            }
            Some(f) if is_pickle(f) => return Err(pickle_refused(path, f)),
            _ => {
                return Err(wrong(format!("tensor `{name}` is mapped to {file}"))
                    .with_expected("the name of a .safetensors file in the same folder"));
            }
        }
    }
    Ok(shards)
}

/// Whether a file with this name holds pickled weights.
pub fn is_pickle(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".bin", ".pt", ".pth", ".ckpt", ".pkl", ".bin.index.json"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// The error for pickled weights. `place` is the folder or hub id, as the user would pass it to
/// `from_pretrained`.
pub fn pickle_refused(place: &Path, file: &str) -> Error {
    Error::input(format!(
        "{file} holds pickled weights, and {} has no safetensors; loading a pickle can run \
         arbitrary code, so cvhost refuses it",
        place.display()
    ))
    .with_help(format!(
        "if you trust its source, convert it once with Python and use the new folder:\n  \
         from transformers import AutoModel, AutoImageProcessor  # or the class that \
         config.json names under `architectures`\n  \
         AutoModel.from_pretrained(\"{0}\").save_pretrained(\"out\", safe_serialization=True)\n  \
         AutoImageProcessor.from_pretrained(\"{0}\").save_pretrained(\"out\")",
        place.display()
    ))
}

/// Reads a JSON file of at most 64 MiB.
pub fn read_json(path: &Path) -> Result<Value> {
    let mut text = String::new();
    let read = File::open(path).and_then(|f| f.take(MAX_JSON + 1).read_to_string(&mut text));
    read.map_err(|e| Error::io(Kind::Input, "read", path, &e))?;
    if text.len() as u64 > MAX_JSON {
        return Err(Error::input(format!(
            "{} is larger than {MAX_JSON} bytes",
            path.display()
        )));
    }
    serde_json::from_str(&text)
        .map_err(|e| Error::input(format!("{} is not valid JSON: {e}", path.display())))
}

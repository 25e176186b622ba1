//! Writing a model folder that `from_pretrained` reads.

use super::atomic::{cannot_save, replace_folder};
use super::folder::{CONFIG, PREPROCESSOR, WEIGHTS};
use super::weights::{dtype_of, torch_error};
use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::Parameter;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use tch::{Device, Tensor};

/// What a model folder is written from.
pub struct ModelParts<'a> {
    /// Parameters and buffers; their `name` is their name in the file.
    pub parameters: &'a [Parameter],
    /// `config.json`.
    pub config: &'a Value,
    /// `preprocessor_config.json`.
    pub preprocessor: Option<&'a Value>,
}

/// Writes a model folder, whole or not at all. An older checkpoint at `dir` is replaced, and stays when writing fails.
///
/// # Errors
/// Anything that goes wrong while writing: no space, a read-only folder. `dir` holds something that is no checkpoint. Two
/// parameters of one name; a dtype that the file format lacks.
pub fn save_model(dir: &Path, parts: &ModelParts<'_>) -> Result<()> {
    replace_folder(dir, |temporary| write_model(temporary, parts))
}

/// Writes the files of a model into a folder that is there.
pub(super) fn write_model(folder: &Path, parts: &ModelParts<'_>) -> Result<()> {
    let tensors: Vec<(String, Tensor)> = parts
        .parameters
        .iter()
        .map(|p| (p.name.to_string(), p.tensor.tensor()))
        .collect();
    write_safetensors(&folder.join(WEIGHTS), &tensors)?;
    write_json(&folder.join(CONFIG), parts.config)?;
    if let Some(preprocessor) = parts.preprocessor {
        write_json(&folder.join(PREPROCESSOR), preprocessor)?;
    }
    Ok(())
}

/// Writes a JSON file as Python's `save_pretrained` does: indented by 2, with a line end.
pub(super) fn write_json(path: &Path, value: &Value) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| Error::failed(format!("JSON: {e}")))?;
    text.push('\n');
    std::fs::write(path, text).map_err(|e| cannot_save("write", path, &e))
}

/// Writes tensors as one safetensors file, one after the other through a copy on the CPU. Wider dtypes come first, so that
/// every tensor is aligned; otherwise the order is kept.
pub(super) fn write_safetensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    let mut entries = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        entries.push((name, tensor, about(name, tensor)?));
    }
    entries.sort_by_key(|(_, _, info)| std::cmp::Reverse(info.dtype.bitsize()));
    let mut at = 0;
    for (_, _, info) in &mut entries {
        let end = at + info.data_offsets.1;
        info.data_offsets = (at, end);
        at = end;
    }

    let header = header(&entries).map_err(|e| e.within(path.display().to_string()))?;
    let file = File::create(path).map_err(|e| cannot_save("write", path, &e))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(|e| cannot_save("write", path, &e));
    write(&(header.len() as u64).to_le_bytes())?;
    write(&header)?;
    for (name, tensor, info) in &entries {
        let bytes = bytes_of(tensor, info.data_offsets.1 - info.data_offsets.0)
            .map_err(|e| torch_error(&e).within(format!("tensor `{name}`")))?;
        write(&bytes)?;
    }
    out.flush().map_err(|e| cannot_save("write", path, &e))
}

/// Dtype and shape of a tensor; its range is `0..size` for now.
fn about(name: &str, tensor: &Tensor) -> Result<TensorInfo> {
    let kind = tensor
        .f_kind()
        .map_err(|e| torch_error(&e).within(format!("tensor `{name}`")))?;
    let dtype = dtype_of(kind).ok_or_else(|| {
        Error::failed(format!(
            "tensor `{name}` has dtype {kind:?}, which cannot be saved"
        ))
    })?;
    let shape: Vec<usize> = tensor.size().into_iter().map(|d| d as usize).collect();
    let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
    Ok(TensorInfo {
        dtype,
        shape,
        data_offsets: (0, bytes),
    })
}

fn header(entries: &[(&String, &Tensor, TensorInfo)]) -> Result<Vec<u8>> {
    let infos: Vec<(String, TensorInfo)> = entries
        .iter()
        .map(|(name, _, info)| ((*name).clone(), info.clone()))
        .collect();
    let mut seen = std::collections::HashSet::new();
    if let Some((name, _)) = infos.iter().find(|(name, _)| !seen.insert(name.as_str())) {
        return Err(Error::failed(format!("two tensors are named `{name}`")));
    }
    // transformers refuses files that don't say which framework's tensors they hold.
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata =
        Metadata::new(Some(format), infos).map_err(|e| Error::failed(format!("safetensors: {e}")))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|e| Error::failed(format!("safetensors: {e}")))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

fn bytes_of(tensor: &Tensor, size: usize) -> Result<Vec<u8>, tch::TchError> {
    let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
    let mut bytes = vec![0u8; size];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::ModelFolder;
    use cvhost_plugin_api::data::{Tags, TensorHandle};
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use tch::Kind;

    pub fn parameter(name: &str, tensor: Tensor) -> Parameter {
        Parameter {
            name: name.into(),
            aliases: Default::default(),
            tensor: TensorHandle::new(tensor),
            tags: Tags::NONE,
            depth: 0,
        }
    }

    fn model() -> Vec<Parameter> {
        let cpu = |kind| (kind, Device::Cpu);
        let transposed = Tensor::arange(6, cpu(Kind::Float)).reshape([2, 3]).tr();
        vec![
            parameter("norm.weight", transposed.set_requires_grad(true)),
            parameter("flags", Tensor::from_slice(&[true, false, true])),
            parameter("count", Tensor::from(7i64)),
            parameter(
                "half",
                Tensor::from_slice(&[0.5f32, -2.0]).to_kind(Kind::BFloat16),
            ),
            parameter("nothing", Tensor::empty([0, 4], cpu(Kind::Float))),
        ]
    }

    #[test]
    fn a_saved_model_reads_back_the_same() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("model");
        let (config, preprocessor) = (json!({"model_type": "x", "a": [1]}), json!({"size": 2}));
        let model = model();
        let parts = ModelParts {
            parameters: &model,
            config: &config,
            preprocessor: Some(&preprocessor),
        };
        save_model(&dir, &parts).unwrap();

        let folder = ModelFolder::open(&dir).unwrap();
        assert_eq!((&folder.config, &folder.preprocessor), (&config, &preprocessor));
        let weights = folder.weights().unwrap();
        assert_eq!(
            weights.names(),
            ["count", "norm.weight", "nothing", "half", "flags"]
        );
        for parameter in &model {
            let (saved, tensor) = (weights.read(&parameter.name).unwrap(), parameter.tensor.tensor());
            assert_eq!(
                (saved.kind(), saved.size()),
                (tensor.kind(), tensor.size()),
                "{}",
                parameter.name
            );
            assert!(saved.equal(&tensor), "{}", parameter.name);
        }
        let bytes = fs::read(dir.join(WEIGHTS)).unwrap();
        let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header % 8, 0);
        assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
        assert!(
            fs::read_to_string(dir.join(CONFIG))
                .unwrap()
                .starts_with("{\n  \"model_type\": \"x\",\n")
        );
        assert_eq!(
            fs::metadata(dir.join(WEIGHTS)).unwrap().permissions().mode() & 0o044,
            0o044,
            "others may read it"
        );
    }

    #[test]
    fn a_failed_save_is_loud_and_keeps_the_old_model() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("model");
        let config = json!({});
        let save = |parameters: &[Parameter]| {
            save_model(
                &dir,
                &ModelParts {
                    parameters,
                    config: &config,
                    preprocessor: None,
                },
            )
        };
        save(&model()).unwrap();
        let before = fs::read(dir.join(WEIGHTS)).unwrap();
        let twice = vec![
            parameter("w", Tensor::from(1i64)),
            parameter("w", Tensor::from(2i64)),
        ];
        assert!(
            save(&twice)
                .unwrap_err()
                .to_string()
                .contains("two tensors are named `w`")
        );
        assert_eq!(fs::read(dir.join(WEIGHTS)).unwrap(), before);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_full_disk_is_loud() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            return;
        }
        let error = write_safetensors(
            full,
            &[("w".to_owned(), Tensor::zeros([1000], (Kind::Float, Device::Cpu)))],
        );
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("/dev/full") && text.contains("free space"),
            "{text}"
        );
    }
}

//! Writes a model folder that `from_pretrained` can read.

use super::folder::MARKS;
use super::packed::Packed;
use cvhost::atomic::{cannot_save, replace_folder};
use cvhost::error::{Error, Result};
use cvhost_hub::layout::{CONFIG, PREPROCESSOR, WEIGHTS};
use cvhost_plugin_api::data::Parameter;
use serde_json::Value;
use std::path::Path;

/// The contents of a model folder.
pub struct ModelParts<'a> {
    /// Parameters and buffers, saved under their `name`.
    pub parameters: &'a [Parameter],
    /// `config.json`.
    pub config: &'a Value,
    /// `preprocessor_config.json`.
    pub preprocessor: Option<&'a Value>,
}

/// The files of a model folder in memory.
#[derive(Debug)]
pub struct ModelImage {
    pub weights: Packed,
    pub config: Value,
    pub preprocessor: Option<Value>,
}

impl ModelParts<'_> {
    /// Copies everything into memory; `memory` is reused for the weights.
    ///
    /// # Errors
    /// Two parameters of one name; a dtype that the file format lacks.
    pub fn image(&self, memory: Vec<u8>) -> Result<ModelImage> {
        let tensors: Vec<_> = self
            .parameters
            .iter()
            .map(|p| (p.name.to_string(), p.tensor.tensor()))
            .collect();
        Ok(ModelImage {
            weights: Packed::new(&tensors, memory)?,
            config: self.config.clone(),
            preprocessor: self.preprocessor.cloned(),
        })
    }
}

/// Writes a model folder atomically. An existing checkpoint at `dir` is replaced, but kept if
/// writing fails.
///
/// # Errors
/// Writing fails, for example on a full disk or in a read-only folder; `dir` holds something other
/// than a checkpoint; two parameters have the same name; a dtype is not supported by the file
/// format.
pub fn save_model(dir: &Path, parts: &ModelParts<'_>) -> Result<()> {
    let image = parts.image(Vec::new())?;
    replace_folder(dir, &MARKS, |temporary| image.write(temporary))
}

impl ModelImage {
    /// Writes the files into an existing folder.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        self.weights.write(&folder.join(WEIGHTS))?;
        write_json(&folder.join(CONFIG), &self.config)?;
        if let Some(preprocessor) = &self.preprocessor {
            write_json(&folder.join(PREPROCESSOR), preprocessor)?;
        }
        Ok(())
    }
}

/// Writes a JSON file like Python's `save_pretrained`: indented by 2, with a trailing newline.
pub(super) fn write_json(path: &Path, value: &Value) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| Error::failed(format!("JSON: {e}")))?;
    text.push('\n');
    std::fs::write(path, text).map_err(|e| cannot_save("write", path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelFolder;
    use cvhost_plugin_api::data::{Tags, TensorHandle};
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use tch::{Device, Kind, Tensor};

    pub fn parameter(name: &str, tensor: Tensor) -> Parameter {
        Parameter {
            name: name.into(),
            aliases: Default::default(),
            tensor: TensorHandle::new(tensor),
            tags: Tags::NONE,
            depth: 0,
            extra: Default::default(),
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
            "other users can read it"
        );
    }

    #[test]
    fn a_failed_save_is_an_error_and_keeps_the_old_model() {
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
    fn a_full_disk_is_an_error() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            return;
        }
        let tensors = [("w".to_owned(), Tensor::zeros([1000], (Kind::Float, Device::Cpu)))];
        let error = Packed::new(&tensors, Vec::new()).unwrap().write(full);
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("/dev/full") && text.contains("free space"),
            "{text}"
        );
    }
}

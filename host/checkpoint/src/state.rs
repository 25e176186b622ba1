//! The training state: everything that only training needs, in its own folder next to the model's
//! files.

use super::folder::TRAINING_STATE;
use super::packed::Packed;
use super::save::write_json;
use super::weights::Weights;
use cvhost::atomic::cannot_save;
use cvhost::error::{Error, Result};
use cvhost_hub::layout::read_json;
use serde_json::{Value, json};
use std::path::Path;
use tch::Tensor;

const JSON: &str = "state.json";
const TENSORS: &str = "state.safetensors";
/// Increased when older versions of cvhost can no longer read the state.
const FORMAT: u64 = 1;

/// The state that a resumed run continues from: optimizer, schedule, EMA, random generators,
/// sampler position and more.
#[derive(Debug)]
pub struct TrainingState {
    /// Named tensors. Order is preserved among tensors of the same dtype.
    pub tensors: Vec<(String, Tensor)>,
    /// Everything else. Numbers that aren't finite become `null`, since JSON can't represent them.
    pub json: Value,
}

impl TrainingState {
    /// Returns the tensor with this name.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let found = self.tensors.iter().find(|(n, _)| n == name);
        found
            .map(|(_, tensor)| tensor.shallow_clone())
            .ok_or_else(|| Error::input(format!("the training state has no tensor `{name}`")))
    }

    /// Copies the state into memory; `memory` is reused for the tensors.
    pub fn image(&self, memory: Vec<u8>) -> Result<StateImage> {
        Ok(StateImage {
            tensors: Packed::new(&self.tensors, memory)?,
            json: self.json.clone(),
        })
    }

    /// Reads the state of a checkpoint folder; tensors are on the CPU. `None` if the folder only
    /// holds a model.
    ///
    /// # Errors
    /// A file is missing or can't be read, or the state has a newer format.
    pub fn load(checkpoint: &Path) -> Result<Option<TrainingState>> {
        let folder = checkpoint.join(TRAINING_STATE);
        if !folder.is_dir() {
            return Ok(None);
        }
        let mut document = read_json(&folder.join(JSON))?;
        let format = document.get("format").and_then(Value::as_u64);
        if format != Some(FORMAT) {
            let found = document.get("format").unwrap_or(&Value::Null);
            return Err(
                Error::input(format!("{} has format {found}", folder.join(JSON).display()))
                    .with_expected(format!("format {FORMAT}"))
                    .with_help(
                        "resume with the version of cvhost that saved it, or start a new run from its model",
                    ),
            );
        }
        let weights = Weights::open(&[folder.join(TENSORS)])?;
        let mut tensors = Vec::with_capacity(weights.names().len());
        for name in weights.names() {
            tensors.push((name.clone(), weights.read(name)?));
        }
        Ok(Some(TrainingState {
            tensors,
            json: document.get_mut("state").map(Value::take).unwrap_or_default(),
        }))
    }
}

/// The files of a training state in memory.
#[derive(Debug)]
pub struct StateImage {
    pub tensors: Packed,
    pub json: Value,
}

impl StateImage {
    /// Writes the state into the folder `checkpoint`, which is being created.
    pub(super) fn write(&self, checkpoint: &Path) -> Result<()> {
        let folder = checkpoint.join(TRAINING_STATE);
        std::fs::create_dir(&folder).map_err(|e| cannot_save("create the folder", &folder, &e))?;
        self.tensors.write(&folder.join(TENSORS))?;
        write_json(&folder.join(JSON), &json!({"format": FORMAT, "state": self.json}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn a_state_round_trips_bit_by_bit() {
        let folder = tempfile::tempdir().unwrap();
        assert!(TrainingState::load(folder.path()).unwrap().is_none());
        let state = TrainingState {
            tensors: vec![
                (
                    "exp_avg.0".into(),
                    Tensor::rand([3, 4], (Kind::Float, Device::Cpu)) / 3,
                ),
                ("rng".into(), Tensor::from_slice(&[1u8, 255, 0])),
                ("step".into(), Tensor::from(120i64)),
                ("empty".into(), Tensor::empty([0], (Kind::Double, Device::Cpu))),
            ],
            json: json!({"epoch": 3, "seed": u64::MAX, "loggers": {"a": null}}),
        };
        state.image(Vec::new()).unwrap().write(folder.path()).unwrap();
        let loaded = TrainingState::load(folder.path()).unwrap().unwrap();
        assert_eq!(loaded.json, state.json);
        assert_eq!(loaded.tensors.len(), state.tensors.len());
        for (name, tensor) in &state.tensors {
            let found = loaded.tensor(name).unwrap();
            assert_eq!(
                (found.kind(), found.size()),
                (tensor.kind(), tensor.size()),
                "{name}"
            );
            assert!(found.equal(tensor), "{name}");
        }
        assert!(
            loaded
                .tensor("other")
                .unwrap_err()
                .to_string()
                .contains("`other`")
        );
    }

    #[test]
    fn a_newer_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        TrainingState {
            tensors: vec![],
            json: json!({}),
        }
        .image(Vec::new())
        .unwrap()
        .write(folder.path())
        .unwrap();
        std::fs::write(
            folder.path().join(TRAINING_STATE).join(JSON),
            r#"{"format":2,"state":{}}"#,
        )
        .unwrap();
        let text = TrainingState::load(folder.path()).unwrap_err().to_string();
        assert!(
            text.contains("has format 2") && text.contains("expected: format 1"),
            "{text}"
        );
    }
}

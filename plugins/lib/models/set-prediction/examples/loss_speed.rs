//! Times matching and loss, forward and backward, on outputs saved by
//! `benches/peers/hf_loss.py make`:
//!
//! ```text
//! loss_speed FOLDER REPETITIONS THREADS
//! ```
//!
//! Prints one line of JSON per file: `case`, the median `ms`, and the differences of loss and
//! gradients to the saved ones.

use cvhost_set_prediction::{AuxiliaryLoss, LossSettings, Predictions, SetCriterion, Targets};
use serde_json::json;
use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tch::Tensor;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, repetitions, threads] = arguments.as_slice() else {
        return Err("usage: loss_speed FOLDER REPETITIONS THREADS".into());
    };
    let repetitions: usize = repetitions.parse()?;
    tch::set_num_threads(threads.parse()?);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    for file in files {
        let case = Case::open(&file)?;
        let off = case.differences()?;
        // Warm-up: a fifth of the repetitions.
        for _ in 0..repetitions / 5 {
            case.seconds()?;
        }
        let mut times = (0..repetitions)
            .map(|_| case.seconds())
            .collect::<Result<Vec<f64>, _>>()?;
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).ok_or("no repetitions")? * 1e3;
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        println!(
            "{}",
            json!({"case": name, "ms": median, "loss_difference": off.loss, "gradient_difference": off.gradient})
        );
    }
    Ok(())
}

struct Case {
    criterion: SetCriterion,
    targets: Targets,
    tensors: HashMap<String, Tensor>,
}

/// The relative difference of the loss, and the largest absolute difference of the gradients.
struct Differences {
    loss: f64,
    gradient: f64,
}

impl Case {
    fn open(file: &Path) -> Result<Self, Box<dyn Error>> {
        let tensors: HashMap<String, Tensor> = Tensor::read_safetensors(file)?.into_iter().collect();
        let tensor = |name: &str| named(&tensors, name);
        let counts = Vec::<i64>::try_from(tensor("counts")?)?;
        let targets = Targets::new(tensor("class_labels")?, tensor("target_boxes")?, counts)?;
        let auxiliary = match tensor("logits")?.size().first() {
            Some(1) => AuxiliaryLoss::Off,
            _ => AuxiliaryLoss::Weighted(1.0),
        };
        let criterion = SetCriterion {
            settings: LossSettings::DETR,
            class_weights: None,
            auxiliary,
        };
        Ok(Case {
            criterion,
            targets,
            tensors,
        })
    }

    /// Each layer's outputs as leaf tensors, as the heads would return them.
    fn leaves(&self) -> Result<Vec<Predictions>, Box<dyn Error>> {
        let layers = |name| Ok::<_, Box<dyn Error>>(named(&self.tensors, name)?.unbind(0));
        let leaf = |x: Tensor| x.copy().set_requires_grad(true);
        let pairs = layers("logits")?.into_iter().zip(layers("boxes")?);
        Ok(pairs
            .map(|(logits, boxes)| Predictions {
                logits: leaf(logits),
                pred_boxes: leaf(boxes),
            })
            .collect())
    }

    fn seconds(&self) -> Result<f64, Box<dyn Error>> {
        let leaves = self.leaves()?;
        let start = Instant::now();
        let loss = self.criterion.loss(&leaves, &self.targets, &[])?;
        loss.loss.backward();
        Ok(start.elapsed().as_secs_f64())
    }

    fn differences(&self) -> Result<Differences, Box<dyn Error>> {
        let leaves = self.leaves()?;
        let loss = self.criterion.loss(&leaves, &self.targets, &[])?;
        loss.loss.backward();
        let off = |ours: &Tensor, name: &str| -> Result<f64, Box<dyn Error>> {
            let largest = (ours - named(&self.tensors, name)?).abs().max();
            Ok(largest.double_value(&[]))
        };
        let gradients = |of: fn(&Predictions) -> &Tensor| {
            Tensor::stack(&leaves.iter().map(|l| of(l).grad()).collect::<Vec<_>>(), 0)
        };
        let logits = off(&gradients(|l| &l.logits), "grad_logits")?;
        let boxes = off(&gradients(|l| &l.pred_boxes), "grad_boxes")?;
        let size = named(&self.tensors, "loss")?.double_value(&[]).abs();
        Ok(Differences {
            loss: off(&loss.loss.detach(), "loss")? / size.max(1.0),
            gradient: logits.max(boxes),
        })
    }
}

fn named(tensors: &HashMap<String, Tensor>, name: &str) -> Result<Tensor, Box<dyn Error>> {
    let found = tensors.get(name).ok_or_else(|| format!("no tensor {name}"))?;
    Ok(found.shallow_clone())
}

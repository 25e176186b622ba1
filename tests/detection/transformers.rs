//! Checkpoint exchange between cvhost and transformers, in both directions, for both families.

use crate::bench::{Bench, FAMILIES, of_event};
use cvhost_tests::{fixture, python};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Loads `model` strictly, and prints what it predicts for `image` at threshold 0.
const PREDICT: &str = r#"
import json, sys, torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForObjectDetection
model_dir, image = sys.argv[1:3]
model, info = AutoModelForObjectDetection.from_pretrained(model_dir, output_loading_info=True)
assert not any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
processor = AutoImageProcessor.from_pretrained(model_dir, backend="pil")
image = Image.open(image).convert("RGB")
inputs = processor(images=[image], return_tensors="pt")
if model.config.model_type == "yolos":
    inputs.pop("pixel_mask", None)
with torch.no_grad():
    outputs = model.eval()(**inputs)
result = processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=[image.size[::-1]])[0]
print(json.dumps({k: v.tolist() for k, v in result.items()}))
"#;

/// Saves a randomly initialised model with the configuration in `argv[1]` to `argv[2]`.
const CREATE: &str = r#"
import sys, torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForObjectDetection
torch.manual_seed(5)
model = AutoModelForObjectDetection.from_config(AutoConfig.from_pretrained(sys.argv[1]))
with torch.no_grad():
    for p in model.parameters():
        if p.dim() > 1: p.copy_(torch.randn_like(p) / p[0].numel() ** 0.5)
model.save_pretrained(sys.argv[2])
AutoImageProcessor.from_pretrained(sys.argv[1], backend="pil").save_pretrained(sys.argv[2])
"#;

const MODULES: [&str; 4] = ["torch", "transformers", "PIL", "scipy"];

#[test]
fn a_checkpoint_of_ours_predicts_the_same_in_transformers() {
    let Some(python) = python::or_skip(
        "detection::transformers::a_checkpoint_of_ours_predicts_the_same_in_transformers",
        &MODULES,
    ) else {
        return;
    };
    for family in FAMILIES {
        let bench = Bench::new(family);
        let finished = bench.run(&["training.max_epochs=1"]).success().last_event();
        let checkpoint = Path::new(finished["run_dir"].as_str().unwrap()).join("checkpoints/best");
        same_predictions(&bench, &python, &checkpoint);
    }
}

#[test]
fn a_checkpoint_of_transformers_predicts_the_same_here() {
    let Some(python) = python::or_skip(
        "detection::transformers::a_checkpoint_of_transformers_predicts_the_same_here",
        &MODULES,
    ) else {
        return;
    };
    for family in FAMILIES {
        let bench = Bench::new(family);
        let made = bench.path("made");
        let config = fixture(&format!("golden/{family}"));
        python::run(
            &python,
            CREATE,
            &[config.to_str().unwrap(), made.to_str().unwrap()],
        );
        same_predictions(&bench, &python, &made);
    }
}

/// Compares every query's score and box: ours come best first, the reference's in its own order.
fn same_predictions(bench: &Bench, python: &PathBuf, model: &Path) {
    let image = bench.set.images().remove(0);
    let printed = python::run(
        python,
        PREDICT,
        &[model.to_str().unwrap(), image.to_str().unwrap()],
    );
    let reference: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    let run = bench.predict(model, &[&image]).success();
    let events = run.events();
    let ours = of_event(&events, "prediction")[0]["predictions"]
        .as_array()
        .unwrap()
        .clone();
    let numbers = |v: &Value| -> Vec<f64> {
        v.as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_f64().unwrap())
            .collect()
    };
    let scores = numbers(&reference["scores"]);
    let boxes: Vec<Vec<f64>> = reference["boxes"]
        .as_array()
        .unwrap()
        .iter()
        .map(numbers)
        .collect();
    assert_eq!(ours.len(), scores.len());
    assert!(ours.len() > 5);
    for prediction in &ours {
        let (score, xyxy) = (
            prediction["score"].as_f64().unwrap(),
            numbers(&prediction["box_xyxy"]),
        );
        let same = scores.iter().zip(&boxes).any(|(s, b)| {
            (s - score).abs() <= 1e-4 && b.iter().zip(&xyxy).all(|(b, x)| (b - x).abs() <= 0.02)
        });
        assert!(same, "{prediction} is not among the reference's {reference}");
    }
}

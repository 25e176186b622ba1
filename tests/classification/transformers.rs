//! Checkpoint exchange between cvhost and transformers, in both directions, for every family.

use crate::bench::{Bench, of_event};
use cvhost_tests::cells::CellSet;
use cvhost_tests::python;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Loads `model` strictly, and prints the score of each class for `image`.
const PREDICT: &str = r#"
import json, sys, torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification
model_dir, image = sys.argv[1:3]
model, info = AutoModelForImageClassification.from_pretrained(model_dir, output_loading_info=True)
assert not any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
processor = AutoImageProcessor.from_pretrained(model_dir, backend="pil")
inputs = processor(images=[Image.open(image).convert("RGB")], return_tensors="pt")
if model.config.model_type != "resnet":
    inputs["interpolate_pos_encoding"] = True
with torch.no_grad():
    logits = model.eval()(**inputs).logits[0]
multi = model.config.problem_type == "multi_label_classification"
scores = logits.sigmoid() if multi else logits.softmax(-1)
print(json.dumps({model.config.id2label[i]: s for i, s in enumerate(scores.tolist())}))
"#;

/// Saves a randomly initialised model with the configuration in `argv[1]` and the architecture
/// `argv[3]` to `argv[2]`, with the image processor `argv[4]`, created from the JSON in `argv[5]`.
const CREATE: &str = r#"
import json, sys, torch, transformers
from transformers import AutoConfig
torch.manual_seed(5)
source, target, architecture, processor = sys.argv[1:5]
model = getattr(transformers, architecture)(AutoConfig.from_pretrained(source))
with torch.no_grad():
    for p in model.parameters():
        p.copy_(torch.randn_like(p) / p[0].numel() ** 0.5 if p.dim() > 1 else 1 + 0.1 * torch.randn_like(p))
    for n, b in model.named_buffers():
        if n.endswith("running_var"): b.copy_(torch.rand_like(b) + 0.5)
model.save_pretrained(target)
getattr(transformers, processor + "Pil")(**json.loads(sys.argv[5])).save_pretrained(target)
"#;

const MODULES: [&str; 3] = ["torch", "transformers", "PIL"];

#[test]
fn a_checkpoint_of_ours_scores_the_same_in_transformers() {
    let Some(python) = python::or_skip(
        "classification::transformers::a_checkpoint_of_ours_scores_the_same_in_transformers",
        &MODULES,
    ) else {
        return;
    };
    let bench = Bench::new();
    // The last one at a size other than the network's own, where position embeddings are
    // interpolated.
    for (family, more) in [
        ("resnet", &[][..]),
        ("vit", &[]),
        ("vit", &["data.image_size=[40, 24]"]),
    ] {
        let model = format!("model.model_name={}", bench.path(family).display());
        let overrides = [&[model.as_str(), "training.max_epochs=1"], more].concat();
        same_scores(&bench, &python, &bench.trained(&overrides));
    }
}

#[test]
fn a_checkpoint_of_transformers_scores_the_same_here_and_after_training_there_again() {
    let Some(python) = python::or_skip(
        "classification::transformers::a_checkpoint_of_transformers_scores_the_same_here_and_after_training_there_again",
        &MODULES,
    ) else {
        return;
    };
    let bench = Bench::new();
    let resnet = |layer: &str| {
        json!({"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16, 24], "depths": [1, 2, 1],
            "layer_type": layer})
    };
    let vit = |model_type: &str| {
        json!({"model_type": model_type, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 24, "image_size": 32, "patch_size": 8})
    };
    let multi = |mut config: Value| {
        config["problem_type"] = json!("multi_label_classification");
        config
    };
    let (resnet_class, convnext) = ("ResNetForImageClassification", "ConvNextImageProcessor");
    let small = json!({"size": {"shortest_edge": 32}});
    let square = json!({"size": {"height": 32, "width": 32}});
    let cropped = json!({"size": {"height": 40, "width": 40}, "crop_size": {"height": 32, "width": 32}});
    for (i, (mut config, architecture, processor, arguments)) in [
        (resnet("basic"), resnet_class, convnext, small.clone()),
        (multi(resnet("bottleneck")), resnet_class, convnext, small),
        (
            vit("vit"),
            "ViTForImageClassification",
            "ViTImageProcessor",
            square,
        ),
        (
            vit("deit"),
            "DeiTForImageClassification",
            "DeiTImageProcessor",
            cropped.clone(),
        ),
        (
            vit("deit"),
            "DeiTForImageClassificationWithTeacher",
            "DeiTImageProcessor",
            cropped,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        config["id2label"] = json!({"0": "round", "1": "long", "2": "flat"});
        config["label2id"] = json!({"round": 0, "long": 1, "flat": 2});
        let (source, made) = (
            bench.path(&format!("config {i}")),
            bench.path(&format!("made {i}")),
        );
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("config.json"), config.to_string()).unwrap();
        let (source, target) = (source.to_str().unwrap(), made.to_str().unwrap());
        let arguments = arguments.to_string();
        python::run(
            &python,
            CREATE,
            &[source, target, architecture, processor, &arguments],
        );
        same_scores(&bench, &python, &made);
        let trained = bench.trained(&[
            &format!("model.model_name={target}"),
            "model.pretrained=true",
            "training.max_epochs=1",
        ]);
        same_scores(&bench, &python, &trained);
    }
}

/// Checks that cvhost and transformers agree on the score of every class for an image.
fn same_scores(bench: &Bench, python: &PathBuf, model: &Path) {
    let image = CellSet::images(&bench.set.val).remove(0);
    let printed = python::run(
        python,
        PREDICT,
        &[model.to_str().unwrap(), image.to_str().unwrap()],
    );
    let reference: BTreeMap<String, f64> = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    let run = bench.predict(model, "0", &[&image]).success();
    let events = run.events();
    let ours = of_event(&events, "prediction")[0]["predictions"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(ours.len(), reference.len());
    for prediction in &ours {
        let (label, score) = (
            prediction["label"].as_str().unwrap(),
            prediction["score"].as_f64().unwrap(),
        );
        let expected = reference[label];
        assert!(
            (score - expected).abs() <= 1e-5,
            "{}: {label} has {score}, the reference {reference:?}",
            model.display()
        );
    }
}

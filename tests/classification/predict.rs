//! What `predict` refuses, ignores and can read.

use crate::bench::{Bench, of_event};
use cvhost_tests::cells::CellSet;
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

#[test]
fn a_checkpoint_without_a_trained_head_for_its_labels_is_refused() {
    let bench = Bench::new();
    let model = bench.trained(&["training.max_epochs=1"]).canonicalize().unwrap();
    let image = &CellSet::images(&bench.set.val)[0];
    bench.predict(&model, "0", &[image]).success();
    let file = model.join("config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    config["id2label"] = serde_json::json!({"0": "a", "1": "b", "2": "c", "3": "d"});
    std::fs::write(&file, config.to_string()).unwrap();
    let refused = bench.predict(&model, "0", &[image]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("no trained head for 4 classes") && refused.stderr.contains("classifier"),
        "{}",
        refused.stderr
    );
}

#[test]
fn an_image_with_a_non_unicode_name_is_predicted() {
    let bench = Bench::new();
    let model = bench.trained(&["training.max_epochs=1"]);
    let odd = bench.folder.path().join(OsStr::from_bytes(b"cell_\xff.png"));
    std::fs::copy(&CellSet::images(&bench.set.val)[0], &odd).unwrap();
    let missing = bench.folder.path().join(OsStr::from_bytes(b"none_\xff.png"));
    let events = bench.predict(&model, "0", &[&odd]).success().events();
    assert_eq!(of_event(&events, "prediction").len(), 1);
    assert_eq!(bench.predict(&model, "0", &[&missing]).code, 3);
}

#[test]
fn prompts_are_refused_by_a_task_that_does_not_use_them() {
    let bench = Bench::new();
    let model = bench.trained(&["training.max_epochs=1"]);
    let image = &CellSet::images(&bench.set.val)[0];
    let prompt = bench.path("prompt.jsonl");
    let line = serde_json::json!({"image": image, "predictions": []});
    std::fs::write(&prompt, format!("{line}\n")).unwrap();
    let refused = bench.predict(&model, "0", &[Path::new("--prompt"), &prompt, image]);
    assert_ne!(refused.code, 0);
    assert!(
        refused.stderr.contains("leave out --prompt and --stage"),
        "{}",
        refused.stderr
    );

    // Lines about other images, and those that aren't predictions, are counted. `--side` is the
    // former name of `--prompt`.
    let lines = "{\"image\": \"elsewhere.png\"}\n{\"event\": \"picture_failed\", \"image\": \"b.png\"}\n";
    std::fs::write(&prompt, lines).unwrap();
    let predicted = bench
        .predict(&model, "0", &[Path::new("--side"), &prompt, image])
        .success();
    for part in [
        "lines are not predictions",
        "1 lines match none of the images",
        "1 images have no line",
    ] {
        assert!(predicted.stderr.contains(part), "{part}: {}", predicted.stderr);
    }
}

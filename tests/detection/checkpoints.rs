//! Incompatible checkpoints, and one where only the head differs.

use crate::bench::{Bench, copy_of, edit_json, refused};
use cvhost_tests::fixture;
use serde_json::json;

#[test]
fn pickled_weights_are_refused_with_a_way_to_convert_them() {
    let bench = Bench::new("detr");
    let model = bench.path("model");
    copy_of(&fixture("golden/detr"), &model);
    std::fs::rename(model.join("model.safetensors"), model.join("pytorch_model.bin")).unwrap();
    refused(
        &bench.predict(&model, &[&bench.set.images]),
        3,
        &["pytorch_model.bin", "safetensors"],
    );
}

#[test]
fn weights_of_another_size_are_refused_with_a_table() {
    let bench = Bench::new("yolos");
    let model = bench.path("model");
    copy_of(&fixture("golden/yolos"), &model);
    edit_json(&model.join("config.json"), |c| c["intermediate_size"] = json!(64));
    refused(
        &bench.predict(&model, &[&bench.set.images]),
        3,
        &["different shape", "checkpoint", "intermediate"],
    );
}

#[test]
fn truncated_weights_are_refused() {
    let bench = Bench::new("detr");
    let model = bench.path("model");
    copy_of(&fixture("golden/detr"), &model);
    let bytes = std::fs::read(model.join("model.safetensors")).unwrap();
    std::fs::write(model.join("model.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    refused(
        &bench.predict(&model, &[&bench.set.images]),
        3,
        &["model.safetensors"],
    );
}

#[test]
fn a_head_with_another_class_count_is_reinitialised_and_this_is_reported() {
    let bench = Bench::new("detr");
    edit_json(&bench.set.annotations, |coco| {
        coco["categories"]
            .as_array_mut()
            .unwrap()
            .push(json!({"id": 20, "name": "star"}));
    });
    let run = bench.run(&["training.max_epochs=1"]).success();
    assert!(
        run.stderr
            .contains("re-initialised: depends on the number of classes"),
        "{}",
        run.stderr
    );
    assert_eq!(run.last_event()["status"], "ok");
}

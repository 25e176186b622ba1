//! Invalid data: one report with all errors, exit code 3.

use crate::bench::{Bench, edit_json, of_event, refused};
use cvhost_tests::fixture;
use serde_json::json;

#[test]
fn a_missing_annotation_file_is_named() {
    let bench = Bench::new("detr");
    std::fs::remove_file(&bench.set.annotations).unwrap();
    refused(&bench.run(&[]), 2, &["annotations.json"]);
}

#[test]
fn all_problems_of_the_annotations_are_in_one_report() {
    let bench = Bench::new("detr");
    edit_json(&bench.set.annotations, |coco| {
        coco["annotations"][1]["id"] = coco["annotations"][0]["id"].clone();
        coco["annotations"][2]["category_id"] = json!(55);
        coco["images"][1]["file_name"] = json!("../outside.png");
    });
    refused(
        &bench.run(&[]),
        3,
        &["annotation id 1 occurs 2 times", "category 55", "../outside.png"],
    );
}

#[test]
fn an_empty_split_is_refused_before_the_model_is_loaded() {
    let bench = Bench::from_model(&fixture("golden/detr"));
    // The model couldn't be loaded either: the data error comes first.
    let model = bench.path("model");
    crate::bench::copy_of(&fixture("golden/detr"), &model);
    std::fs::write(model.join("model.safetensors"), b"nothing").unwrap();
    edit_json(&bench.set.annotations, |coco| {
        (coco["images"], coco["annotations"]) = (json!([]), json!([]))
    });
    let run = bench.run(&[&format!("model.model_name={}", model.display())]);
    refused(&run, 3, &["train"]);
    assert!(!run.stderr.contains("safetensors"), "{}", run.stderr);
}

#[test]
fn an_unreadable_image_does_not_stop_the_others() {
    let bench = Bench::new("detr");
    let broken = bench.set.images.join("a_broken.png");
    std::fs::write(&broken, b"not an image").unwrap();
    let run = bench.predict(&fixture("golden/detr"), &[&bench.set.images]);
    refused(&run, 3, &["a_broken.png"]);
    let events = run.events();
    assert_eq!(of_event(&events, "prediction").len(), 8);
    assert_eq!(of_event(&events, "picture_failed").len(), 1);
}

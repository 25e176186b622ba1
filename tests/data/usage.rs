//! Invalid calls of `cvhost data`: their error messages and exit codes.

use crate::bench::{Bench, edit_json};
use cvhost_tests::events::refused;
use serde_json::json;

#[test]
fn wrong_arguments_are_refused() {
    let bench = Bench::new();
    refused(
        &bench.data("check", &["--split", "nowhere"]),
        2,
        &["nowhere", "train"],
    );
    refused(
        &bench.data("check", &["--split", "test"]),
        2,
        &["data.test_data_path"],
    );
    refused(
        &bench.data("stats", &["--split", "test"]),
        2,
        &["data.test_data_path"],
    );
    refused(
        &bench.data("preview", &["--out", "sheet.gif"]),
        2,
        &["sheet.gif", ".jpg, .jpeg or .png"],
    );
    refused(&bench.data("preview", &["--count", "0"]), 2, &["--count"]);
    refused(&bench.data("check", &["data.wrong_key=1"]), 2, &["wrong_key"]);
    std::fs::remove_file(&bench.config).unwrap();
    refused(&bench.data("check", &[]), 2, &["config.yaml"]);
}

#[test]
fn a_configuration_without_data_is_refused() {
    let bench = Bench::new();
    std::fs::write(
        &bench.config,
        "model: {model_name: not/here, task_type: detection}\n",
    )
    .unwrap();
    for command in ["check", "stats"] {
        refused(&bench.data(command, &[]), 2, &["data.train_data_path"]);
    }
}

#[test]
fn an_empty_split_is_reported_by_every_command() {
    let bench = Bench::new();
    edit_json(&bench.train.annotations, |coco| {
        (coco["images"], coco["annotations"]) = (json!([]), json!([]))
    });
    let run = bench.data("check", &[]);
    assert_eq!(run.code, 3);
    assert!(run.stdout.contains("has no images"), "{}", run.stdout);
    assert!(
        run.stdout.contains("val: 8 images"),
        "the other split is checked: {}",
        run.stdout
    );
    refused(&bench.data("stats", &[]), 3, &["no images", "cvhost data check"]);
    refused(&bench.data("preview", &[]), 3, &["no images"]);
}

#[test]
fn a_page_that_cannot_be_written_is_an_error() {
    let bench = Bench::new();
    let nowhere = bench.path("no/such/folder/page.html");
    let run = bench.data("stats", &["--html", nowhere.to_str().unwrap()]);
    refused(&run, 1, &["cannot write", "page.html"]);
}

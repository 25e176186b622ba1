//! `cvhost data preview`: samples on a sheet.

use crate::bench::Bench;
use cvhost_tests::events::refused;
use image::GenericImageView;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Draws a sheet; returns the event and the file.
fn preview(bench: &Bench, name: &str, arguments: &[&str]) -> (Value, PathBuf) {
    let out = bench.path(name);
    let all = [&["--json", "--out", out.to_str().unwrap()], arguments].concat();
    (bench.data("preview", &all).success().last_event(), out)
}

#[test]
fn a_sheet_is_a_jpeg_with_a_cell_for_each_sample() {
    let bench = Bench::new();
    let (event, file) = preview(&bench, "sheet.jpg", &["--count", "5"]);
    assert_eq!(
        (&event["event"], &event["split"]),
        (&json!("data_preview"), &json!("train"))
    );
    assert_eq!(event["records"].as_array().unwrap().len(), 5);
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(image::guess_format(&bytes).unwrap(), image::ImageFormat::Jpeg);
    // Three columns and two rows of 300 pixels with titles and gaps.
    assert_eq!(image::open(&file).unwrap().dimensions(), (932, 656));
    // There are no more cells than records.
    let (event, file) = preview(&bench, "all.png", &["--count", "20"]);
    assert_eq!(event["records"].as_array().unwrap().len(), 8);
    assert_eq!(image::open(&file).unwrap().dimensions(), (932, 980));
}

#[test]
fn an_epoch_always_gives_the_same_samples_and_another_epoch_different_ones() {
    let bench = Bench::new();
    let bytes = |name: &str, arguments: &[&str]| {
        let (event, file) = preview(&bench, name, arguments);
        (event["records"].clone(), std::fs::read(file).unwrap())
    };
    let first = bytes("a.png", &[]);
    assert_eq!(first, bytes("b.png", &[]));
    let (records, pixels) = bytes("c.png", &["--epoch", "1"]);
    assert!(records != first.0 && pixels != first.1);
    // The same order, without the mirror images.
    let (records, pixels) = bytes("d.png", &["--no-augment"]);
    assert!(records == first.0 && pixels != first.1);
    // Validation data keep their own order.
    let (records, _) = bytes("e.png", &["--split", "val"]);
    assert!(
        records[0].as_str().unwrap().starts_with("image 100 "),
        "{records}"
    );
}

#[test]
fn a_missing_model_matters_only_where_its_input_size_is_needed() {
    let bench = Bench::new();
    preview(&bench, "a.jpg", &["model.model_name=not/here"]);
    let sizes = "data.augmentations={random_resize: [100, 200]}";
    let run = bench.data("preview", &["model.model_name=not/here", sizes]);
    refused(&run, 3, &["random_resize", "not/here", "--no-augment"]);
}

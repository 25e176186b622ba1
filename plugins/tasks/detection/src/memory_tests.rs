//! Memory use of a large dataset.

use super::*;
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write};

/// A folder of images, and a COCO file with ten boxes each, with polygons and unused keys.
fn large(images: usize) -> (tempfile::TempDir, OpenArgs) {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("train")).unwrap();
    let file = root.path().join("annotations.json");
    let mut out = BufWriter::new(File::create(&file).unwrap());
    write!(out, r#"{{"info": {{}}, "images": ["#).unwrap();
    for i in 0..images {
        let comma = if i > 0 { "," } else { "" };
        let name = format!("train/{i:012}.jpg");
        File::create(root.path().join(&name)).unwrap();
        write!(
            out,
            r#"{comma}{{"id": {i}, "file_name": "{name}", "width": 640, "height": 480, "license": 1}}"#
        )
        .unwrap();
    }
    write!(out, r#"], "annotations": ["#).unwrap();
    for a in 0..images * 10 {
        let comma = if a > 0 { "," } else { "" };
        let (x, y) = ((a % 500) as f64 + 0.37, (a % 300) as f64 + 0.11);
        let ring = format!(
            "{x},{y},{},{y},{},{},{x},{}",
            x + 20.5,
            x + 20.5,
            y + 30.25,
            y + 30.25
        );
        // Cycles through the images, so that the boxes of an image aren't contiguous.
        write!(
            out,
            r#"{comma}{{"id": {a}, "image_id": {}, "category_id": {}, "bbox": [{x}, {y}, 20.5, 30.25], "area": 620.125,
                "iscrowd": 0, "segmentation": [[{ring}]]}}"#,
            a % images,
            a % 80
        )
        .unwrap();
    }
    let categories: Vec<Value> = (0..80)
        .map(|c| json!({"id": c, "name": format!("class {c}")}))
        .collect();
    write!(out, r#"], "categories": {}}}"#, json!(categories)).unwrap();
    out.into_inner().unwrap().sync_all().unwrap();
    let args = OpenArgs {
        split: "train".to_owned(),
        images: root.path().display().to_string(),
        annotations: file.display().to_string(),
        config: json!({}),
        checkpoint_classes: Vec::new(),
        ..OpenArgs::default()
    };
    (root, args)
}

#[test]
fn a_box_takes_less_than_100_bytes() {
    let (_root, args) = large(2_000);
    let data = DetectionDataSet::open(&args).unwrap();
    assert_eq!(data.set.annotations.len(), 20_000);
    let bytes = data.set.heap_bytes() + data.groups.heap_bytes();
    assert!(bytes / 20_000 < 100, "{bytes} bytes");
}

/// The peak memory of this process since it was reset, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Takes a minute and must run alone: `cargo test -p cvhost-task-detection -- --ignored`.
#[test]
#[ignore = "creates 100 000 files; measures the whole process"]
fn a_million_boxes_open_within_200_mb() {
    let (_root, args) = large(100_000);
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    let begin = std::time::Instant::now();
    let data = DetectionDataSet::open(&args).unwrap();
    let (taken, seconds) = (peak() - before, begin.elapsed().as_secs_f64());
    println!(
        "{} boxes: {:.1} MB more at the peak, {seconds:.1} s",
        data.set.annotations.len(),
        taken as f64 / 1e6
    );
    println!(
        "{:.1} MB are retained",
        (data.set.heap_bytes() + data.groups.heap_bytes()) as f64 / 1e6
    );
    assert_eq!(data.set.annotations.len(), 1_000_000);
    assert!(taken < 200_000_000, "{taken} bytes");
}

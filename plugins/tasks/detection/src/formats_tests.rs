//! The same boxes yield the same records in every format.

use super::*;
use cvhost_plugin_api::data::{Array, RecordArgs};
use serde_json::json;
use std::fmt::Write;
use std::fs;

/// The header of a PNG file, which is enough to read its size.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend(b"\x08\x02\0\0\0\0\0\0\0\0\0\0\0IDAT\0\0\0\0\0\0\0\0IEND\0\0\0\0");
    bytes
}

/// The same, stored with swapped sides and an EXIF rotation.
fn turned_png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png(height, width);
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    let mut chunk = (exif.len() as u32).to_be_bytes().to_vec();
    chunk.extend(b"eXIf");
    chunk.append(&mut exif);
    chunk.extend([0; 4]);
    bytes.splice(33..33, chunk);
    bytes
}

/// A temporary folder with the files in `content`.
fn folder(content: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in content {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn args(root: &Path, split: &str, images: &str, annotations: &str, config: Value) -> OpenArgs {
    let path = |name: &str| root.join(name).display().to_string();
    OpenArgs {
        split: split.to_owned(),
        images: path(images),
        annotations: if annotations.is_empty() {
            String::new()
        } else {
            path(annotations)
        },
        config,
        checkpoint_classes: Vec::new(),
        ..OpenArgs::default()
    }
}

fn fixture() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bccd/instances.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn list<'a>(document: &'a Value, name: &str) -> &'a [Value] {
    document[name].as_array().unwrap()
}

/// Each image of a COCO document: its name without extension, its size, and its objects' class
/// names and boxes.
type Images = Vec<(String, [f64; 2], Vec<(String, [f64; 4])>)>;

fn images(document: &Value) -> Images {
    let class = |id: &Value| {
        let category = list(document, "categories")
            .iter()
            .find(|c| c["id"] == *id)
            .unwrap();
        category["name"].as_str().unwrap().to_owned()
    };
    list(document, "images")
        .iter()
        .map(|image| {
            let own = list(document, "annotations")
                .iter()
                .filter(|a| a["image_id"] == image["id"]);
            let objects = own
                .map(|a| {
                    (
                        class(&a["category_id"]),
                        serde_json::from_value(a["bbox"].clone()).unwrap(),
                    )
                })
                .collect();
            let size = ["width", "height"].map(|side| image[side].as_f64().unwrap());
            (
                image["file_name"].as_str().unwrap().replace(".jpg", ""),
                size,
                objects,
            )
        })
        .collect()
}

fn voc(document: &Value, root: &Path) {
    fs::create_dir_all(root.join("Annotations")).unwrap();
    for (stem, [width, height], objects) in images(document) {
        let mut text = format!(
            "<annotation><filename>{stem}.jpg</filename><size><width>{width}</width><height>{height}</height></size>\n"
        );
        for (class, [x, y, w, h]) in objects {
            let (x2, y2) = (x + w, y + h);
            writeln!(
                text,
                "<object><name>{class}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            )
            .unwrap();
        }
        fs::write(
            root.join(format!("Annotations/{stem}.xml")),
            text + "</annotation>",
        )
        .unwrap();
    }
}

fn yolo(document: &Value, root: &Path) {
    fs::create_dir_all(root.join("labels")).unwrap();
    let names: Vec<&str> = list(document, "categories")
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    fs::write(
        root.join("data.yaml"),
        json!({"train": "images", "names": names}).to_string(),
    )
    .unwrap();
    for (stem, [width, height], objects) in images(document) {
        let mut text = String::new();
        for (class, [x, y, w, h]) in objects {
            let number = names.iter().position(|name| *name == class).unwrap();
            let [cx, cy] = [(x + w / 2.0) / width, (y + h / 2.0) / height];
            writeln!(text, "{number} {cx} {cy} {} {}", w / width, h / height).unwrap();
        }
        fs::write(root.join(format!("labels/{stem}.txt")), text).unwrap();
    }
}

fn csv(document: &Value, root: &Path) {
    let mut text = "filename,width,height,class,xmin,ymin,xmax,ymax\n".to_owned();
    for (stem, [width, height], objects) in images(document) {
        if objects.is_empty() {
            writeln!(text, "{stem}.jpg,{width},{height},,,,,").unwrap();
        }
        for (class, [x, y, w, h]) in objects {
            writeln!(
                text,
                "{stem}.jpg,{width},{height},{class},{x},{y},{},{}",
                x + w,
                y + h
            )
            .unwrap();
        }
    }
    fs::write(root.join("boxes.csv"), text).unwrap();
}

/// A folder with the fixture's images and annotations in all formats.
fn in_all_formats() -> tempfile::TempDir {
    let document = fixture();
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("images")).unwrap();
    for (stem, ..) in images(&document) {
        fs::write(root.path().join(format!("images/{stem}.jpg")), png(640, 480)).unwrap();
    }
    fs::write(root.path().join("instances.json"), document.to_string()).unwrap();
    voc(&document, root.path());
    yolo(&document, root.path());
    csv(&document, root.path());
    root
}

fn numbers(array: &Array) -> Vec<f64> {
    array.to_f64().unwrap()
}

#[test]
fn the_same_boxes_yield_the_same_records_in_every_format() {
    let root = in_all_formats();
    let names = json!({"model": {"class_names": ["RBC", "WBC", "Platelets"]}});
    let open = |annotations: &str| {
        DetectionDataSet::open(&args(root.path(), "train", "images", annotations, names.clone())).unwrap()
    };
    let coco = open("instances.json");
    assert_eq!(coco.len(), 5);
    for (annotations, exact) in [
        ("Annotations", true),
        ("boxes.csv", true),
        ("data.yaml", false),
        ("labels", false),
    ] {
        let other = open(annotations);
        assert_eq!(other.len(), coco.len(), "{annotations}");
        assert_eq!(other.spec().names, coco.spec().names, "{annotations}");
        for index in 0..coco.len() {
            let (expected, found) = (
                coco.record(&RecordArgs::at(index as u64)).unwrap(),
                other.record(&RecordArgs::at(index as u64)).unwrap(),
            );
            assert_eq!(found.images, expected.images);
            assert_eq!(
                other.meta(index).unwrap().classes,
                coco.meta(index).unwrap().classes
            );
            for name in ["boxes", "class_labels", "area", "iscrowd", "ground_truth"] {
                let [a, b] = [&expected, &found].map(|record| record.fields.require(name).unwrap());
                assert_eq!(a.dims(), b.dims(), "{annotations}: {name} of record {index}");
                let close = |(a, b): (&f64, &f64)| {
                    if exact {
                        a == b
                    } else {
                        (a - b).abs() < 1e-9 * (1.0 + a.abs())
                    }
                };
                let same = numbers(a).iter().zip(&numbers(b)).all(close);
                assert!(same, "{annotations}: {name} of record {index}: {a:?}, {b:?}");
            }
        }
        let messages: Vec<String> = other.problems().iter().map(|p| p.message.to_string()).collect();
        let wrong = messages
            .iter()
            .find(|line| line.contains("1 box (no area): excluded from training"))
            .unwrap();
        assert!(wrong.contains("BloodImage_00338.jpg"), "{wrong}");
    }
}

#[test]
fn label_files_follow_the_upright_image() {
    let root = folder(&[
        ("images/a.png", &png(100, 50)),
        ("images/b.png", &turned_png(100, 50)),
        ("labels/a.txt", b"0 0.25 0.5 0.5 1.2"),
        ("labels/b.txt", b"0 0.25 0.5 0.5 1.2"),
        ("classes.txt", b"cat"),
    ]);
    let data = DetectionDataSet::open(&args(root.path(), "val", "images", "", json!({}))).unwrap();
    assert_eq!(data.meta(0).unwrap().width, 0); // not known until the image is opened
    assert_eq!(data.meta(0).unwrap().classes.as_slice(), [0]);
    for index in 0..2 {
        let fields = data.record(&RecordArgs::at(index as u64)).unwrap().fields;
        assert_eq!(numbers(fields.require("boxes").unwrap()), [0.0, 0.0, 50.0, 50.0]);
        let truth = numbers(fields.require("ground_truth").unwrap());
        let expected = [0.0, 0.0, -5.0, 50.0, 60.0, 3000.0, 0.0];
        assert!(
            truth.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9),
            "{truth:?}"
        );
    }
    let messages = data.problems();
    let clipped = messages.iter().any(|p| {
        p.message
            .contains("clipped to the image: line 1 of a.png, line 1 of b.png")
    });
    assert!(clipped, "{messages:?}");
    fs::write(root.path().join("images/a.png"), "no image").unwrap();
    assert!(
        data.record(&RecordArgs::at(0))
            .unwrap_err()
            .message
            .contains("a.png")
    );
}

#[test]
fn validation_has_the_training_classes_if_files_do_not_list_them() {
    let root = folder(&[
        ("a.png", &png(9, 9)),
        (
            "train.csv",
            b"image,class,x,y,w,h\na.png,zebra,0,0,1,1\na.png,cat,0,0,1,1\n",
        ),
        ("val.csv", b"image,class,x,y,w,h\na.png,zebra,0,0,1,1\n"),
        ("other.csv", b"image,class,x,y,w,h\na.png,dog,0,0,1,1\n"),
    ]);
    let training = |name: &str| root.path().join(name).display().to_string();
    let config =
        json!({"data": {"train_data_path": training(""), "train_annotation_file": training("train.csv")}});
    let open =
        |split, file| DetectionDataSet::open(&args(root.path(), split, "", file, config.clone())).unwrap();
    let names = |data: &DetectionDataSet| {
        data.spec()
            .names
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&open("train", "train.csv")), ["zebra", "cat"]);
    let val = open("val", "val.csv");
    assert_eq!(names(&val), ["cat", "zebra"]);
    assert_eq!(val.meta(0).unwrap().classes.as_slice(), [1]);
    assert_eq!(names(&open("val", "other.csv")), ["cat", "zebra", "dog"]);
}

#[test]
fn boxes_are_read_from_keypoints_and_panoptic_files() {
    let root = folder(&[("a.png", &png(9, 9))]);
    let image = json!([{"id": 1, "file_name": "a.png", "width": 9, "height": 9}]);
    let keypoints = json!({"images": image, "categories": [{"id": 1, "name": "person", "keypoints": ["nose"]}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "keypoints": [1, 1, 2]}]});
    let panoptic = json!({"images": image,
        "categories": [{"id": 1, "name": "person", "isthing": 1}, {"id": 9, "name": "sky", "isthing": 0}],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": [
            {"id": 7, "category_id": 1, "bbox": [1, 1, 2, 2], "area": 4, "iscrowd": 0},
            {"id": 8, "category_id": 9, "bbox": [0, 0, 9, 9], "area": 70, "iscrowd": 0}]}]});
    for document in [keypoints, panoptic] {
        fs::write(root.path().join("annotations.json"), document.to_string()).unwrap();
        let data = DetectionDataSet::open(&args(root.path(), "val", "", "", json!({}))).unwrap();
        assert_eq!(data.spec().names.as_slice(), ["person"]);
        let fields = data.record(&RecordArgs::at(0)).unwrap().fields;
        assert_eq!(numbers(fields.require("boxes").unwrap()), [1.0, 1.0, 3.0, 3.0]);
        if document["annotations"][0]["segments_info"].is_array() {
            let messages = data.problems()[0].message.to_string();
            assert!(
                messages.contains("1 segments of 1 stuff categories"),
                "{messages}"
            );
        }
    }
}

#[test]
fn invalid_shapes_are_reported_and_their_boxes_are_used() {
    let root = folder(&[("a.png", &png(9, 9))]);
    let document = json!({"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "x"}],
        "annotations": [
            {"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "segmentation": [[1, 2, 3, 4, 5]]},
            {"id": 6, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2],
             "segmentation": {"size": [9, 9], "counts": [80]}}]});
    fs::write(root.path().join("annotations.json"), document.to_string()).unwrap();
    let data = DetectionDataSet::open(&args(root.path(), "val", "", "", json!({}))).unwrap();
    let messages = data.problems()[0].message.to_string();
    assert!(
        messages.contains("annotation 5 of image 1: polygon with 5 numbers"),
        "{messages}"
    );
    assert!(
        messages.contains("annotation 6 of image 1: RLE whose counts sum to 80, not to 9 x 9 = 81"),
        "{messages}"
    );
    assert_eq!(data.meta(0).unwrap().classes.as_slice(), [0, 0]);
}

#[test]
fn faults_of_rows_images_and_boxes_are_in_one_report() {
    let root = folder(&[
        ("a.png", &png(9, 9)),
        (
            "boxes.csv",
            b"image,class,x,y,w,h\na.png,cat,0,0,0,1\n../b.png,cat,1,1,1,1\ngone.png,cat,1,1,1,1\na.png,cat,1\n",
        ),
    ]);
    let config = json!({"data": {"box_policy": "error", "format": "csv"}});
    let error = DetectionDataSet::open(&args(root.path(), "val", "", "", config))
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.starts_with("4 problems in the annotations of the val split"),
        "{error}"
    );
    for part in [
        "line 5: 3 cells, but the header has 6",
        "file_name \"../b.png\" has `..` in it; rejected",
        "gone.png does not exist",
        "line 2 (a.png): box [0.0, 0.0, 0.0, 1.0]: no area",
    ] {
        assert!(error.contains(part), "no {part:?} in:\n{error}");
    }
}

#[test]
fn an_unnamed_class_number_is_reported_with_its_line() {
    let root = folder(&[
        ("a.png", &png(9, 9)),
        ("a.txt", b"0 0.5 0.5 1 1\n3 0.5 0.5 1 1"),
        ("data.yaml", b"names: [x, y]\nval: ./"),
    ]);
    let error = DetectionDataSet::open(&args(root.path(), "val", "", "", json!({})))
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("line 2 of a.png: class 3 has no name; the number of names is 2"),
        "{error}"
    );
}
